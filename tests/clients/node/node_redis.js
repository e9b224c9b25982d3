// node-redis: a plain client on each client port, a cluster client on each port, and a plain client that strays to a
// cluster port.

import { createClient, createCluster } from "redis";
import { HOST, check, clientPorts, clusterPorts, keys, summarize } from "./check.js";

const values = keys.map((key) => `value of ${key}`);
const url = (port) => `redis://${HOST}:${port}`;

async function withClient(client, body) {
  // An error that no command reports would otherwise end the process without its reason.
  client.on("error", (error) => console.error(error));
  await client.connect();
  try {
    await body(client);
  } finally {
    await client.close();
  }
}

const plain = (port, RESP, body) => withClient(createClient({ url: url(port), RESP }), body);
const cluster = (port, RESP, body) => withClient(createCluster({ rootNodes: [{ url: url(port) }], RESP }), body);
const each = (command) => Promise.all(keys.map(command));
const respOf = (port) => 2 + (port % 2);

async function singleKeys(client, equal) {
  equal(await each((key, i) => client.set(key, values[i])), keys.map(() => "OK"), "SET");
  equal(await each((key) => client.get(key)), values, "GET");
  equal(await each((key) => client.expire(key, 1000)), keys.map(() => 1), "EXPIRE");
  equal((await each((key) => client.ttl(key))).every((ttl) => ttl > 990 && ttl <= 1000), true, "TTL");
}

async function collections(client, equal) {
  for (const key of keys.slice(0, 30)) {
    await client.hSet(`hash:${key}`, { a: "1", b: key });
    equal({ ...(await client.hGetAll(`hash:${key}`)) }, { a: "1", b: key }, "HGETALL");
    await client.rPush(`list:${key}`, ["x", key]);
    equal(await client.lRange(`list:${key}`, 0, -1), ["x", key], "LRANGE");
    await client.sAdd(`set:${key}`, ["x", key]);
    equal([...(await client.sMembers(`set:${key}`))].sort(), ["x", key].sort(), "SMEMBERS");
    await client.zAdd(`zset:${key}`, [{ score: 1, value: "x" }, { score: 2.5, value: key }]);
    const scores = await client.zRangeWithScores(`zset:${key}`, 0, -1);
    equal(scores.map(({ value, score }) => [value, score]), [["x", 1], [key, 2.5]], "ZRANGE");
  }
}

await check("plain", clientPorts, (port, equal) =>
  plain(port, respOf(port), async (client) => {
    equal(await client.flushAll(), "OK", "FLUSHALL");
    await singleKeys(client, equal);
    equal(await client.mGet(keys), values, "MGET");
    equal(await client.dbSize(), keys.length, "DBSIZE");
    const seen = new Set();
    for await (const found of client.scanIterator({ COUNT: 50 })) found.forEach((key) => seen.add(key));
    equal([...seen].sort(), [...keys].sort(), "SCAN");
    const pipeline = client.multi();
    keys.forEach((key) => pipeline.set(key, "p").get(key));
    equal(await pipeline.execAsPipeline(), keys.flatMap(() => ["OK", "p"]), "pipeline");
    await plain(clientPorts.find((other) => other !== port), 3, async (other) => {
      equal(await other.mGet(keys), keys.map(() => "p"), "MGET through another node");
    });
    equal(await client.mSet(keys.map((key) => [key, "m"])), "OK", "MSET");
    equal(await client.del(keys), keys.length, "DEL");
    await collections(client, equal);
  }));

await check("cluster", [...clientPorts, ...clusterPorts], (port, equal) =>
  cluster(port, respOf(port), async (client) => {
    await plain(clientPorts[0], 2, (all) => all.flushAll());
    await singleKeys(client, equal);
    equal([...new Set(client.masters.map((node) => node.port))].sort(), [...clusterPorts].sort(), "the map's primaries");
    await collections(client, equal);
    equal(await client.mSet([["{tag}a", "1"], ["{tag}b", "2"]]), "OK", "MSET in one slot");
    equal(await client.mGet(["{tag}a", "{tag}b"]), ["1", "2"], "MGET in one slot");
    await plain(clientPorts[1], 3, async (other) => {
      equal(await other.mGet(keys), values, "MGET through a client port");
    });
    for (const master of client.masters) await (await client.nodeClient(master)).flushAll();
    await plain(clientPorts[2], 2, async (other) => equal(await other.dbSize(), 0, "DBSIZE after FLUSHALL"));
  }));

await check("strayed", clusterPorts, (port, equal) =>
  plain(port, respOf(port), async (client) => {
    const replies = await Promise.all(keys.map((key) => client.get(key).catch((error) => error.message)));
    const moved = replies.filter((reply) => reply !== null);
    const others = clusterPorts.filter((other) => other !== port);
    equal(new Set(moved.map((message) => message.replace(/^MOVED \d+ /, ""))),
      new Set(others.map((other) => `${HOST}:${other}`)), "MOVED names the owner");
  }));

summarize();
