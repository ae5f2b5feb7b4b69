/** What a host's own configuration is made of, whatever kind of host it is: items that are kept, compared and put back one by one. */

/** Sorts: `host`, `networks`, `pools`, `nwfilters`, `secrets`, `interfaces`, `etc`; each kind of host has its own. */
export interface HostItem {
  /**
   * `networks/default`, `etc/libvirt/qemu.conf`: sort and name, by which it is the same item at another time or on another host. Names
   * of things are percent-encoded (RFC 3986), those of files are their absolute paths without the first slash.
   */
  name: string;
  /** Its definition in the host's own words (XML), or a file's bytes. */
  content: Uint8Array;
  /** What is not in the definition: whether it starts with the host, whether it is active, a file's mode. For people, too. */
  state: HostItemState;
  /** A secret's value: is kept, compared, and never shown. */
  value?: Uint8Array;
}

export type HostItemState = Readonly<Record<string, string | boolean>>;

export interface PutHostItemOptions {
  /** What is there by this name now and is to be replaced. */
  replaces?: HostItem;
}

/** Hosts whose configuration can be put back. */
export interface HostConfigurationPlatform {
  /** Why an item is never put back; undefined for those that can be. */
  whyNotPut(item: HostItem): string | undefined;
  /**
   * Defines `item` and brings it into its state. What was not done of that, or takes effect later, is in the sentences that it
   * answers; raises what the host says where the definition itself is refused. May be repeated.
   */
  put(item: HostItem, options?: PutHostItemOptions): Promise<string[]>;
}
