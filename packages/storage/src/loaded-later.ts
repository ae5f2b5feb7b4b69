/**
 * Stores on other machines, and the test of storage. What they are made of is loaded by the first who uses one: most
 * commands run on a folder of this machine.
 */
import type * as S3 from './s3-store.ts';
import type * as Sftp from './sftp-store.ts';
import type * as Test from './storage-test.ts';

/** See s3-store.ts. */
export const openS3Store: typeof S3.openS3Store = async (...parameters) =>
  (await import('./s3-store.ts')).openS3Store(...parameters);

/** See s3-store.ts. */
export const undeleteS3Objects: typeof S3.undeleteS3Objects = async (...parameters) =>
  (await import('./s3-store.ts')).undeleteS3Objects(...parameters);

/** See sftp-store.ts. */
export const openSftpStore: typeof Sftp.openSftpStore = async (...parameters) =>
  (await import('./sftp-store.ts')).openSftpStore(...parameters);

/** See storage-test.ts. */
export const testStorage: typeof Test.testStorage = async (...parameters) =>
  (await import('./storage-test.ts')).testStorage(...parameters);
