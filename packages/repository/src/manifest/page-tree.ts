/** Walking the pages of a disk. */
import { IntegrityError, type Range, SharedWork } from '@prima/base';
import { type Context, hexOf, idFromHex } from '../context.ts';
import type { RootRef } from '../point.ts';
import { blobType } from '../format/blob.ts';
import { childSpan, type Page, pageFanout, type PageRef, parsePage, rootLevel } from '../format/page.ts';
import type { BlobReader } from '../index/blob-reader.ts';

/** One chunk of a disk, or a stretch of zeros (of any length). */
export interface ChunkRef extends Range {
  /** Undefined: zeros. */
  id: Uint8Array | undefined;
}

const cachedPages = 256;

export class PageTree {
  readonly #context: Context;
  readonly #blobs: BlobReader;
  readonly #cache = new Map<string, SharedWork<Page>>();

  constructor(context: Context, blobs: BlobReader) {
    this.#context = context;
    this.#blobs = blobs;
  }

  /**
   * The references of a disk in `range`, ascending and gapless; `range` begins and ends at chunks. With `onError`,
   * which is told of pages that cannot be read and may raise, there are zeros below such a page.
   */
  async *chunks(
    { root, size }: { root: RootRef; size: number },
    range: Range,
    how: { onError?: PageFailure; signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<ChunkRef> {
    const level = rootLevel(size, this.#context.chunkSize);
    yield* this.#chunksBelow(refOfRoot(root, size), { level, offset: 0 }, { range, ...how });
  }

  /**
   * The reference to each leaf of a disk, in order. With `onError`, which is told of pages that cannot be read and
   * may raise, the leaves below such a page are zero references.
   */
  async leaves(root: RootRef, size: number, onError?: PageFailure): Promise<PageRef[]> {
    const { chunkSize } = this.#context;
    const leafSpan = chunkSize * pageFanout;
    let refs: PageRef[] = [refOfRoot(root, size)];
    for (let level = rootLevel(size, chunkSize); level > 0; level -= 1) {
      const next: PageRef[] = [];
      let offset = 0;
      for (const ref of refs) {
        next.push(...(await this.#childrenOrNone(ref, { level, offset }, onError)));
        offset += ref.length;
      }
      refs = next;
    }
    if (refs.length !== Math.ceil(size / leafSpan))
      throw new IntegrityError('the pages of a disk do not cover it');
    return refs;
  }

  /** The references of one leaf. */
  async leafRefs(leaf: PageRef): Promise<PageRef[]> {
    return await this.#childrenOf(leaf, 0);
  }

  /** Byte ranges in which two disks of one size differ; equal subtrees are not read. */
  async *differences(a: RootRef, b: RootRef, size: number): AsyncGenerator<Range> {
    const level = rootLevel(size, this.#context.chunkSize);
    yield* this.#differencesBelow([refOfRoot(a, size), refOfRoot(b, size)], level, 0);
  }

  /**
   * Visits every page and chunk id below a root. `visit` answers whether to go below a page; it
   * is called for the page first.
   */
  async walk(root: RootRef, size: number, visit: TreeVisitor): Promise<void> {
    const level = rootLevel(size, this.#context.chunkSize);
    await this.#walkBelow(refOfRoot(root, size), { level, offset: 0 }, visit);
  }

  async #walkBelow(
    ref: PageRef,
    place: { level: number; offset: number },
    visit: TreeVisitor,
  ): Promise<void> {
    if (!ref.id || !visit.page(ref.id)) return;
    const range = { offset: place.offset, length: ref.length };
    let page: Page;
    try {
      page = await this.#page(ref, place.level, visit.signal);
    } catch (error) {
      if (!visit.onError) throw error;
      visit.onError(error, range, ref.id);
      return;
    }
    let offset = place.offset;
    for (const child of page.refs) {
      if (place.level > 0) await this.#walkBelow(child, { level: place.level - 1, offset }, visit);
      else if (child.id) visit.chunk(child.id, { offset, length: child.length });
      offset += child.length;
    }
  }

  /**
   * Visits every page and chunk below a root but for what `before`, a disk of the same size, has at the same place.
   * Unlike `walk` it does not ask `visit` whether to go below a page, and raises where one cannot be read.
   */
  async walkSince(
    root: RootRef,
    before: RootRef | undefined,
    size: number,
    { visit, signal }: { visit: (id: Uint8Array) => void; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const level = rootLevel(size, this.#context.chunkSize);
    await this.#walkSince([refOfRoot(root, size), before && refOfRoot(before, size)], level, {
      visit,
      signal,
    });
  }

  async #walkSince(
    [ref, before]: [PageRef, PageRef | undefined],
    level: number,
    how: { visit: (id: Uint8Array) => void; signal: AbortSignal | undefined },
  ): Promise<void> {
    const { visit, signal } = how;
    if (!ref.id || (before && sameId(ref.id, before.id))) return;
    visit(ref.id);
    const [refs, others] = await Promise.all([
      this.#childrenOf(ref, level, signal),
      before?.id ? this.#childrenOf(before, level, signal) : [],
    ]);
    for (const [i, child] of refs.entries()) {
      const other = others[i];
      if (level > 0) await this.#walkSince([child, other], level - 1, how);
      else if (child.id && !(other && sameId(child.id, other.id))) visit(child.id);
    }
  }

  async *#chunksBelow(
    ref: PageRef,
    { level, offset }: { level: number; offset: number },
    how: { range: Range; onError?: PageFailure; signal?: AbortSignal | undefined },
  ): AsyncGenerator<ChunkRef> {
    const { range } = how;
    const page = ref.id && (await this.#pageOr(ref, { level, offset }, how));
    if (!page) {
      const start = Math.max(offset, range.offset);
      const end = Math.min(offset + ref.length, range.offset + range.length);
      if (end > start) yield { id: undefined, offset: start, length: end - start };
      return;
    }
    let position = offset;
    for (const child of page.refs) {
      const wanted = position < range.offset + range.length && position + child.length > range.offset;
      const below = { level: level - 1, offset: position };
      if (wanted && level === 0) yield { id: child.id, offset: position, length: child.length };
      else if (wanted) yield* this.#chunksBelow(child, below, how);
      position += child.length;
    }
  }

  /** The page, or undefined when `onError` takes that it cannot be read. */
  async #pageOr(
    ref: PageRef,
    { level, offset }: { level: number; offset: number },
    { onError, signal }: { onError?: PageFailure; signal?: AbortSignal | undefined },
  ): Promise<Page | undefined> {
    try {
      return await this.#page(ref, level, signal);
    } catch (error) {
      if (!onError || !ref.id) throw error;
      onError(error, { offset, length: ref.length }, ref.id);
      return undefined;
    }
  }

  async *#differencesBelow([a, b]: [PageRef, PageRef], level: number, offset: number): AsyncGenerator<Range> {
    if (sameId(a.id, b.id)) return;
    const [left, right] = await Promise.all([this.#childrenOf(a, level), this.#childrenOf(b, level)]);
    let position = offset;
    for (const [index, child] of left.entries()) {
      const other = right[index];
      if (!other || other.length !== child.length)
        throw new IntegrityError('two disks of one size have unlike pages');
      if (level > 0) yield* this.#differencesBelow([child, other], level - 1, position);
      else if (!sameId(child.id, other.id)) yield { offset: position, length: child.length };
      position += child.length;
    }
  }

  async #childrenOrNone(
    ref: PageRef,
    { level, offset }: { level: number; offset: number },
    onError: PageFailure | undefined,
  ): Promise<PageRef[]> {
    try {
      return await this.#childrenOf(ref, level);
    } catch (error) {
      if (!onError || !ref.id) throw error;
      onError(error, { offset, length: ref.length }, ref.id);
      return await this.#childrenOf({ id: undefined, length: ref.length }, level);
    }
  }

  /** The references in a page; those of a zero reference are zero references. */
  async #childrenOf(ref: PageRef, level: number, signal?: AbortSignal): Promise<PageRef[]> {
    if (ref.id) return (await this.#page(ref, level, signal)).refs;
    const span = childSpan(level, this.#context.chunkSize);
    const count = Math.ceil(ref.length / span);
    return Array.from({ length: count }, (_, i) => ({
      id: undefined,
      length: Math.min(span, ref.length - i * span),
    }));
  }

  async #page(ref: PageRef, level: number, signal?: AbortSignal): Promise<Page> {
    const id = ref.id ?? new Uint8Array(32);
    const name = `${hexOf(id)}:${ref.length}`;
    let page = this.#cache.get(name);
    if (!page || page.isAbandoned) {
      page = new SharedWork((own) => this.#load({ ...ref, id }, level, own));
      if (this.#cache.size >= cachedPages) {
        const [oldest] = this.#cache.keys();
        if (oldest !== undefined) this.#cache.delete(oldest);
      }
      this.#cache.set(name, page);
    }
    try {
      return await page.wait(`reading page ${hexOf(id)}`, signal);
    } catch (error) {
      if (!signal?.aborted && this.#cache.get(name) === page) this.#cache.delete(name);
      throw error;
    }
  }

  async #load(
    { id, length }: { id: Uint8Array; length: number },
    level: number,
    signal: AbortSignal,
  ): Promise<Page> {
    const plain = await this.#blobs.open(id, blobType.page, signal);
    return parsePage(plain, { level, length, chunkSize: this.#context.chunkSize }, `page ${hexOf(id)}`);
  }
}

export interface TreeVisitor {
  /** Answers whether to look below this page. */
  page(id: Uint8Array): boolean;
  chunk(id: Uint8Array, range: Range): void;
  /** Without it, what went wrong is raised. */
  onError?: PageFailure;
  signal?: AbortSignal | undefined;
}

/** Told of a page that cannot be read, and the range of the disk that is lost with it; may raise. */
export type PageFailure = (error: unknown, range: Range, id: Uint8Array) => void;

function refOfRoot(root: RootRef, size: number): PageRef {
  return { id: root.zero ? undefined : idFromHex(root.id), length: size };
}

function sameId(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}
