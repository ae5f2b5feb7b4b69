/** What a command's file needs to register itself: how its action is run. */
import type { Command } from 'commander';
import type { Environment } from './environment.ts';
import type { GlobalOptions } from './global-options.ts';
import { type CommandTraits, Invocation } from './invocation.ts';

export class Cli {
  readonly #environment: Environment;
  /** The status of the command that ran. */
  exitStatus = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** Makes a commander action of a function that gets the invocation, the arguments and the options. */
  action<A extends unknown[]>(
    traits: CommandTraits,
    handler: (invocation: Invocation, ...args: A) => Promise<void>,
  ): (...args: [...A, Command]) => Promise<void> {
    return async (...args) => {
      const command = args.at(-1) as Command;
      const globals = command.optsWithGlobals<GlobalOptions>();
      const invocation = new Invocation({ name: nameOf(command), globals, traits }, this.#environment);
      await handler(invocation, ...(args.slice(0, -1) as A));
      this.exitStatus = invocation.exitStatus;
    };
  }
}

/** `machine start`: the command's name with its parents', without the program's. */
export function nameOf(command: Command): string {
  const parent = command.parent;
  return parent?.parent ? `${nameOf(parent)} ${command.name()}` : command.name();
}
