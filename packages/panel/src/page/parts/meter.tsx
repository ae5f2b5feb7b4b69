/** How far something is; nothing where it is not known. */
export function Meter({
  progress,
}: {
  progress?: { done: number; total?: number | undefined; subject: string } | undefined;
}) {
  if (!progress?.total) return null;
  const share = Math.min(100, Math.round((progress.done / progress.total) * 100));
  return (
    <div
      className="meter"
      role="progressbar"
      aria-label={progress.subject || 'progress'}
      aria-valuenow={share}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div style={{ width: `${share}%` }} />
    </div>
  );
}
