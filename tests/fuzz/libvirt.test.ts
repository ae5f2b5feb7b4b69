/** The libvirt client, whatever a daemon sends: an error of ours, or what was sent. */
import { test } from 'node:test';
import { answerOf, fuzzRun } from '@prima/testbed';
import { libvirtTargets } from './libvirt-targets.ts';

for (const [name, make] of Object.entries(libvirtTargets)) {
  test(`${name}: a daemon that says nearly the right thing ends in an error of ours`, async (t) => {
    const { seed, rounds, random } = fuzzRun(2000);
    t.diagnostic(`seed ${seed}`);
    const target = make();
    for (let round = 0; round < rounds; round += 1) {
      const input = target.input(random);
      await answerOf(async () => await target.read(input, random), `seed ${seed}, round ${round}`);
    }
  });
}
