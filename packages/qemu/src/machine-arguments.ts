/**
 * Pieces of a QEMU command line that every machine of ours has. Paths are best given relative to the
 * run folder, which is the machine's working directory: they are short then, whatever the folder.
 */

/** A value inside a `key=value,…` option: QEMU wants its commas doubled. */
export function optionValue(text: string): string {
  return text.replaceAll(',', ',,');
}

/** `-blockdev`, `-device`, `-object` with their options as JSON, which needs no quoting. */
export function jsonOption(option: string, value: object): string[] {
  return [option, JSON.stringify(value)];
}

/** No default devices, no configuration of the user's, no window. */
export function plainArguments(): string[] {
  return ['-nodefaults', '-no-user-config', '-display', 'none'];
}

/** A QMP monitor at a unix socket; QEMU listens and does not wait for a client. */
export function monitorArguments(id: string, socketPath: string): string[] {
  return [...listeningSocket(id, socketPath), '-mon', `chardev=${id},mode=control`];
}

/** The guest agent's channel: a virtio serial port with the name that the agent opens. */
export function guestAgentArguments(socketPath: string): string[] {
  return [
    '-device',
    'virtio-serial-pci,id=agent-bus',
    ...listeningSocket('agent', socketPath),
    '-device',
    'virtserialport,bus=agent-bus.0,chardev=agent,name=org.qemu.guest_agent.0',
  ];
}

/** The first serial port, kept in a file; what an earlier run wrote stays. */
export function consoleLogArguments(path: string): string[] {
  return ['-chardev', `file,id=console,path=${optionValue(path)},append=on`, '-serial', 'chardev:console'];
}

function listeningSocket(id: string, path: string): string[] {
  return ['-chardev', `socket,id=${id},path=${optionValue(path)},server=on,wait=off`];
}
