/** Prima and restic with their repositories in one S3 server on this machine, Ceph's object gateway. */
import { randomBytes } from 'node:crypto';
import type { Logger } from '@prima/base';
// not part of a package: a server of the tests with a user and a bucket
import { startS3Lab } from '../tests/interop/s3-fixtures.ts';
import { prima, resticAt } from './contenders.ts';
import { type Entry, race, type Stage, stages } from './disk-race.ts';

export const onS3 = { prima: 'prima on S3', restic: 'restic on S3' };

export interface S3RaceOptions {
  folder: string;
  disk: string;
  rounds: number;
  stages: readonly Stage[];
  log: Logger;
}

/** The race of the local disk, with a new prefix of the bucket for each repository. */
export async function raceOnS3(options: S3RaceOptions): Promise<Map<string, Entry>> {
  options.log.info("starting Ceph's object gateway");
  await using lab = await startS3Lab();
  const bucket = await lab.newBucket();
  const login = {
    AWS_ACCESS_KEY_ID: lab.owner.accessKeyId,
    AWS_SECRET_ACCESS_KEY: lab.owner.secretAccessKey,
  };
  const prefixes = new Map<string, string>();
  /** The prefix of a folder; its first use in a round is `prepare`. */
  const prefixOf = (folder: string) => {
    const known = prefixes.get(folder);
    if (known !== undefined) return known;
    const prefix = randomBytes(6).toString('hex');
    prefixes.set(folder, prefix);
    return prefix;
  };
  const contenders = [
    prima(onS3.prima, {
      readBack: true,
      placeOf: (folder) => ({
        PRIMA_REPO: `s3://${bucket}/${prefixOf(folder)}?endpoint=${lab.endpoint}&region=us-east-1&path-style=true`,
        ...login,
      }),
    }),
    resticAt(onS3.restic, (folder) => ({
      RESTIC_REPOSITORY: `s3:${lab.endpoint}/${bucket}/${prefixOf(folder)}`,
      ...login,
    })),
  ];
  return await race(contenders, {
    ...options,
    stages: stages.filter((stage) => options.stages.includes(stage)),
    afterRound: async (_name, folder) => void prefixes.delete(folder), // the next round gets another place
  });
}
