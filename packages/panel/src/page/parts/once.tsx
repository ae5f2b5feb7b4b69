/** Shows a secret, this once. */
import { Button, CopyButton, Modal } from '@mantine/core';

export function Once({
  title,
  secret,
  close,
}: {
  title: string;
  secret: string | undefined;
  close: () => void;
}) {
  return (
    <Modal opened={secret !== undefined} onClose={close} title={title}>
      <p>It is shown this once; copy it now.</p>
      <p className="mono panel" style={{ marginTop: 10 }}>
        {secret}
      </p>
      <CopyButton value={secret ?? ''}>
        {({ copied, copy }) => <Button onClick={copy}>{copied ? 'Copied' : 'Copy'}</Button>}
      </CopyButton>
    </Modal>
  );
}
