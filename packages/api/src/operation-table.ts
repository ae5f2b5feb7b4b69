/** Every operation of the contract; one that is missing here, or takes or answers something else, does not compile. */
import type { OperationName, OperationTable } from './operation.ts';
import { diskOperations } from './operations/disk-operations.ts';
import { machineOperations } from './operations/machine-operations.ts';
import { repositoryOperations } from './operations/repository-operations.ts';

export const operations: OperationTable = {
  ...repositoryOperations,
  ...machineOperations,
  ...diskOperations,
};

export const operationNames = Object.keys(operations) as OperationName[];

export function isOperationName(text: string): text is OperationName {
  return Object.hasOwn(operations, text);
}
