/** The machine `web` of a libvirt host as a chain of points: each incremental reading is held against a full one. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '@prima/platforms';
import type { LibvirtWorld } from './libvirt-fixture.ts';
import { applyChanges, assertSameFiles, saveReading } from './qemu-host-fixture.ts';

/** A machine with an image of each disk as of the newest point, which every backup brings up to date and compares. */
export class TrackedMachine {
  readonly #world: Pick<LibvirtWorld, 'platform'>;
  readonly #folder: string;
  readonly #owner: string;
  #since: Checkpoint | undefined;
  readonly #images: string[] = [];

  constructor(world: Pick<LibvirtWorld, 'platform'>, folder: string, owner = 'one') {
    this.#world = world;
    this.#folder = folder;
    this.#owner = owner;
  }

  /** Of the newest point. */
  get since(): Checkpoint | undefined {
    return this.#since;
  }

  /** Answers why disks were read wholly, and what the reading said. */
  async backUp(): Promise<{ full: (string | undefined)[]; why: string; bytes: number; xml: string }> {
    const { platform } = this.#world;
    const machine = await platform.find('web');
    const reading = await platform.openForBackup(machine, {
      mode: 'auto',
      owner: this.#owner,
      ...(this.#since ? { since: this.#since } : {}),
    });
    let bytes = 0;
    try {
      const now = await saveReading(reading, this.#folder, 'now');
      for (const [index, { changed }] of reading.disks.entries()) {
        const image = this.#images[index] ?? join(this.#folder, `image-${index}`);
        const full = now[index] ?? '';
        if (changed) bytes += await applyChanges(reading, index, image);
        else await cp(full, image);
        this.#images[index] = image;
        await assertSameFiles(image, full);
      }
      for (const path of now) await rm(path);
      await reading.committing?.();
      await reading.succeed();
    } finally {
      await reading.close();
    }
    this.#since = reading.checkpoint;
    const xml = Buffer.from(reading.files.find(({ name }) => name === 'domain.xml')?.bytes ?? []).toString();
    return { full: reading.disks.map(({ whyFull }) => whyFull), why: reading.why.join('; '), bytes, xml };
  }
}
