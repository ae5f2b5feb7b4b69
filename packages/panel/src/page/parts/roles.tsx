/** Chooses roles. */
import { Checkbox } from '@mantine/core';
import { type Role, roles } from '@prima/api/http';

const means: Record<Role, string> = {
  viewer: 'sees how things stand',
  operator: 'backs up, runs policies and jobs',
  restorer: 'restores machines',
  tester: 'tries points in the lab',
  implementer: 'adds hosts, applies changes',
  worker: 'for tokens of prima worker: does jobs at its hosts, sees nothing',
  administrator: 'may do everything',
};

interface RolesProps {
  value: Role[];
  onChange: (value: Role[]) => void;
  /** Those that can be chosen. */
  of?: readonly Role[];
}

export function Roles({ value, onChange, of = roles }: RolesProps) {
  return (
    <Checkbox.Group label="Roles" value={value} onChange={(chosen) => onChange(chosen)}>
      <div className="choices">
        {of.map((role) => (
          <Checkbox key={role} value={role} label={`${role}: ${means[role]}`} />
        ))}
      </div>
    </Checkbox.Group>
  );
}
