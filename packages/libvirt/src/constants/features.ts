/** What is asked of the daemon by number: virDrvFeature of libvirt's src/libvirt_internal.h, and a flag of every call. */
export const Feature = {
  VIR_DRV_FEATURE_TYPED_PARAM_STRING: 9,
  VIR_DRV_FEATURE_PROGRAM_KEEPALIVE: 10,
  VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK: 14,
} as const;

/** Typed parameters that are text may be in the answer; without it older clients are spared them. */
export const VIR_TYPED_PARAM_STRING_OKAY = 4;
