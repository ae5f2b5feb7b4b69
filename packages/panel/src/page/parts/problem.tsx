/** What went wrong: what the server said, and what to do. */
import { Button } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { ApiError } from '@prima/api/http';

/** The server's messages end with what to do, after a semicolon; this is for what it cannot know. */
function adviceFor(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Check that the server runs and can be reached, then try again.';
  if (error.status === 403) return 'Ask an administrator for the role that this needs.';
  if (error.status === 404) return 'It may have been removed; go back to the list.';
  if (error.status === 429) return 'Wait a minute, then try again.';
  if (error.problem.retryable) return 'Try again; it may pass.';
  return `docs/errors.md tells more about “${error.problem.code}”.`;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function Problem({ error, retry }: { error: unknown; retry?: () => unknown }) {
  return (
    <div className="problem" role="alert">
      <strong className="tone-bad">{messageOf(error)}</strong>
      <p className="soft">{adviceFor(error)}</p>
      {retry && (
        <Button mt={8} variant="default" onClick={() => void retry()}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** For what fails away from where its answer would be seen. */
export function tellProblem(error: unknown): void {
  notifications.show({
    color: 'red',
    title: messageOf(error),
    message: adviceFor(error),
    autoClose: 12_000,
    closeButtonProps: { 'aria-label': 'Close' },
  });
}

export function tell(message: string): void {
  notifications.show({ message, closeButtonProps: { 'aria-label': 'Close' } });
}
