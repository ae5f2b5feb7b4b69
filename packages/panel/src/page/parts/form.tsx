/** A form that waits for its answer and shows what was refused where the eye is. */
import { Button } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { Problem } from './problem.tsx';

interface FormProps {
  submit: string;
  run: (values: Record<string, string>) => Promise<unknown>;
  children: ReactNode;
  isDisabled?: boolean;
}

export function Form({ submit, run, children, isDisabled = false }: FormProps) {
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const send = async (form: HTMLFormElement) => {
    setBusy(true);
    setError(undefined);
    try {
      const entries = [...new FormData(form)].filter(
        (entry): entry is [string, string] => typeof entry[1] === 'string',
      );
      await run(Object.fromEntries(entries));
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        void send(event.currentTarget);
      }}
    >
      {children}
      {error !== undefined && <Problem error={error} />}
      <div>
        <Button type="submit" size="sm" loading={isBusy} disabled={isDisabled}>
          {submit}
        </Button>
      </div>
    </form>
  );
}
