/** A button for one thing that is done now: it waits, tells what failed, and asks before what cannot be taken back. */
import { Button, type ButtonProps, Group, Modal, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { tellProblem } from './problem.tsx';

interface ActionProps extends ButtonProps {
  children: ReactNode;
  run: () => Promise<unknown>;
  /** A sentence that has to be agreed to first. */
  confirm?: string;
}

export function Action({ children, run, confirm, ...look }: ActionProps) {
  const [isBusy, setBusy] = useState(false);
  const [isAsking, setAsking] = useState(false);
  const go = async () => {
    setAsking(false);
    setBusy(true);
    try {
      await run();
    } catch (error) {
      tellProblem(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Button
        variant="default"
        {...look}
        loading={isBusy}
        onClick={() => (confirm === undefined ? void go() : setAsking(true))}
      >
        {children}
      </Button>
      <Modal opened={isAsking} onClose={() => setAsking(false)} title={children}>
        <Text size="sm">{confirm}</Text>
        <Group mt="md" justify="flex-end">
          <Button variant="default" onClick={() => setAsking(false)}>
            Leave it
          </Button>
          <Button onClick={() => void go()}>{children}</Button>
        </Group>
      </Modal>
    </>
  );
}
