/** The part of a policy's form with what runs on the server around each backup. */
import { Checkbox, NumberInput, SimpleGrid, Textarea } from '@mantine/core';
import type { PolicySettings } from '@prima/api/http';
import type { IssueOf } from './form.tsx';

interface PolicyCommandsProps {
  commands: PolicySettings['commands'];
  issueOf: IssueOf;
}

export function PolicyCommands({ commands, issueOf }: PolicyCommandsProps) {
  return (
    <fieldset className="part">
      <legend>Commands on the server</legend>
      <p className="soft">The program’s whole path, then one argument a line; no shell reads them.</p>
      {(['before', 'after'] as const).map((step) => (
        <SimpleGrid key={step} cols={{ base: 1, xs: 2 }}>
          <Textarea
            name={step}
            label={step === 'before' ? 'Before each backup' : 'After each, whatever became of it'}
            autosize
            minRows={1}
            defaultValue={commands?.[step]?.command.join('\n') ?? ''}
            error={issueOf(`commands.${step}.command`)}
          />
          <NumberInput
            name={`${step}Seconds`}
            label="Ended after, in seconds"
            placeholder="600"
            min={1}
            max={86_400}
            allowDecimal={false}
            hideControls
            defaultValue={commands?.[step]?.seconds ?? ''}
            error={issueOf(`commands.${step}.seconds`)}
          />
        </SimpleGrid>
      ))}
      <Checkbox
        name="goOn"
        label="Back up although the one before failed"
        defaultChecked={commands?.before?.goOn ?? false}
      />
    </fieldset>
  );
}
