// What both client scripts share: their input, and a summary that says what was checked.
//
// Input: JSON on standard input, {"clientPorts": [...], "clusterPorts": [...], "keys": [...]}.
// Output: one line of JSON, {"checks": {name: how many assertions held}}. The first that fails ends the script, with a
// non-zero status and the reason on standard error.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const HOST = "127.0.0.1";
export const { clientPorts, clusterPorts, keys } = JSON.parse(readFileSync(0, "utf8"));

const checks = {};

// Runs one named check for each port; `body` gets the port and an `equal` that counts.
export async function check(name, ports, body) {
  checks[name] = 0;
  for (const port of ports) {
    await body(port, (actual, expected, what) => {
      assert.deepEqual(actual, expected, `${name}, port ${port}: ${what}`);
      checks[name] += 1;
    });
  }
}

export function summarize() {
  process.stdout.write(JSON.stringify({ checks }) + "\n");
}
