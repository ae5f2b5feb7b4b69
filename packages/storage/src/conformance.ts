/**
 * The suite that every ObjectStore passes, as tests. A store's test file calls `storeConformance` with a function that
 * makes an empty store; random tests print their seed, and PRIMA_SEED repeats one.
 */
import { runStoreCheck, storeChecks, type StoreUnderTest } from './store-checks.ts';

/** Registers the suite with node:test; `make` is called once for each test. */
export function storeConformance(name: string, make: () => Promise<StoreUnderTest>): void {
  const { test } = process.getBuiltinModule('node:test'); // not loaded by who only uses stores
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  for (const check of storeChecks) test(`${name}: ${check.title}`, () => runStoreCheck(check, make, seed));
}
