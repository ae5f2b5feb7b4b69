/** A form that waits for its answer and shows what was refused where the eye is: at its field, where the server names one. */
import { Button } from '@mantine/core';
import { ApiError } from '@prima/api/http';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Problem } from './problem.tsx';

/** By the name of each field; a checkbox that is not set has none. */
export type FormValues = Record<string, string>;

/** What was refused of a setting, or of a part of it (`window` of `window.from`). */
export type IssueOf = (path: string) => string | undefined;

interface FormProps {
  submit: string;
  run: (values: FormValues) => Promise<unknown>;
  /** What is typed, as it changes, and once at first. */
  onValues?: (values: FormValues) => void;
  children: ReactNode | ((issueOf: IssueOf) => ReactNode);
  isDisabled?: boolean;
}

export function Form({ submit, run, onValues, children, isDisabled = false }: FormProps) {
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (form.current) onValues?.(valuesOf(form.current));
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once
  }, []);
  useEffect(() => {
    if (error !== undefined) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [error]);
  const send = async (of: HTMLFormElement) => {
    setBusy(true);
    setError(undefined);
    try {
      await run(valuesOf(of));
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      className="form"
      ref={form}
      onInput={({ currentTarget }) => onValues?.(valuesOf(currentTarget))}
      onSubmit={(event) => {
        event.preventDefault();
        void send(event.currentTarget);
      }}
    >
      {typeof children === 'function' ? children((path) => issueIn(error, path)) : children}
      {error !== undefined && <Problem error={error} />}
      <div>
        <Button type="submit" size="sm" loading={isBusy} disabled={isDisabled}>
          {submit}
        </Button>
      </div>
    </form>
  );
}

function valuesOf(form: HTMLFormElement): FormValues {
  const entries = [...new FormData(form)].filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(entries);
}

/** What the server said of a setting when it refused them. */
export function issueIn(error: unknown, path: string): string | undefined {
  if (!(error instanceof ApiError)) return undefined;
  return issueAt(error.problem.details?.['issues'], path);
}

/** @param issues `{ path, message }` each, as the server tells them */
export function issueAt(issues: unknown, path: string): string | undefined {
  const found = ((issues ?? []) as readonly { path: string; message: string }[]).find(
    (issue) => issue.path === path || issue.path.startsWith(`${path}.`),
  );
  return found?.message;
}
