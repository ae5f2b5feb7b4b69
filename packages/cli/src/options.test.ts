import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runFake } from './fake-environment.ts';

/** Command lines that are wrong, and what is said about them. */
const wrong: readonly (readonly [string, RegExp])[] = [
  ['backup', /missing required argument 'source'/],
  ['backup a --mode tepid', /'tepid' is invalid\. Allowed choices are auto, hot, warm, cold/],
  ['backup a --ful', /unknown option '--ful' \(Did you mean --full\?\)\ntry: prima backup --help\n/],
  ['bakup a', /unknown command 'bakup' \(Did you mean backup\?\)\ntry: prima --help\n/],
  ['machine strat lab/a', /unknown command 'strat' \(Did you mean start\?\)\ntry: prima machine --help\n/],
  ['init --chunk-size lots', /--chunk-size <size>.*"lots" is not a size/],
  ['init --chunk-size 0', /more than 0 bytes/],
  ['init --level 20', /from 1 to 19/],
  ['show', /missing required argument 'point'/],
  ['show a b', /too many arguments/],
  ['restore latest', /--to FOLDER, --to-host HOST or --to-device DEVICE/],
  ['restore latest --to-device /dev/sdb --map-luns', /--map-luns goes with --to and --to-host/],
  ['restore latest --to-device /dev/sdb --format raw', /--format goes with --to FOLDER/],
  ['restore latest --to a --lun /dev/sdb', /--lun goes with --map-luns/],
  ['restore latest --to a --overwrite-lun', /--overwrite-lun goes with --map-luns or --to-device/],
  ['restore latest --to a.ova --map-luns', /a package holds its disks/],
  ['restore latest --to a --to-host b', /one of them/],
  ['restore latest --to a --start', /--start go with --to-host/],
  ['restore latest --to-host b --force', /goes with --to FOLDER/],
  ['restore latest --to a --format vdi', /Allowed choices are raw, qcow2, vmdk/],
  ['export latest', /--socket PATH or --listen ADDR:PORT/],
  ['export latest --socket a --listen b', /one of them/],
  ['forget', /name points, or give a rule/],
  ['forget --dry-run --keep-tag t', /name points, or give a rule/],
  ['forget a b --keep-last 1', /one machine or to each on its own, not to 2 names/],
  ['forget --keep-last 0', /whole number from 1/],
  ['forget --keep-daily x', /whole number from 1/],
  ['collect --wait soon', /such as 90s, 10m, 2h or 30d/],
  ['collect --max-delete-share 80', /at most 1/],
  ['points --limit-upload fast', /--limit-upload <rate>.*"fast" is not a size/],
  ['points --limit-download 0', /more than 0 bytes/],
  ['points --cache-size some', /"some" is not a size/],
  ['key add', /required option '--label <text>' not specified/],
  ['key remove', /missing required argument 'id'/],
  ['host add lab', /missing required argument 'location'/],
  ['machine create web01', /write HOST\/NAME/],
  ['machine create lab/a/b', /write HOST\/NAME/],
  ['machine create lab/a --disk 1G:vhd', /raw or qcow2, not "vhd"/],
  ['machine create lab/a --disk big', /"big" is not a size/],
  ['machine create lab/a --append quiet', /go with --kernel/],
  ['machine create lab/a --network bridge', /Allowed choices are none, user/],
];

for (const [line, expected] of wrong) {
  test(`prima ${line}: is refused with status 2 before anything is opened`, async () => {
    const human = await runFake(line.split(' '));
    assert.equal(human.status, 2);
    assert.equal(human.stdout, '');
    assert.match(human.stderr, /^prima: /);
    assert.match(human.stderr, expected);
    assert.equal(human.opened, undefined);
    const json = await runFake([...line.split(' '), '--json']);
    assert.equal(json.status, 2);
    assert.equal(json.stderr, '');
    const { type, error } = JSON.parse(json.stdout);
    assert.deepEqual([type, error.code, error.exitStatus], ['error', 'usage', 2]);
    assert.match(`${error.message}\n`, expected);
  });
}
