// ioredis: a plain client on each client port, a cluster client on each port, and a plain client that strays to a
// cluster port.

import { Cluster, Redis } from "ioredis";
import { HOST, check, clientPorts, clusterPorts, keys, summarize } from "./check.js";

const values = keys.map((key) => `value of ${key}`);

async function withClient(client, body) {
  try {
    await body(client);
  } finally {
    client.disconnect();
  }
}

function plain(port, body) {
  return withClient(new Redis(port, HOST, { maxRetriesPerRequest: 1 }), body);
}

function cluster(port, body) {
  return withClient(new Cluster([{ host: HOST, port }]), body);
}

const each = (command) => Promise.all(keys.map(command));

async function singleKeys(client, equal) {
  equal(await each((key, i) => client.set(key, values[i])), keys.map(() => "OK"), "SET");
  equal(await each((key) => client.get(key)), values, "GET");
  equal(await each((key) => client.expire(key, 1000)), keys.map(() => 1), "EXPIRE");
  equal((await each((key) => client.ttl(key))).every((ttl) => ttl > 990 && ttl <= 1000), true, "TTL");
}

async function collections(client, equal) {
  for (const key of keys.slice(0, 30)) {
    await client.hset(`hash:${key}`, { a: "1", b: key });
    equal(await client.hgetall(`hash:${key}`), { a: "1", b: key }, "HGETALL");
    await client.rpush(`list:${key}`, "x", key);
    equal(await client.lrange(`list:${key}`, 0, -1), ["x", key], "LRANGE");
    await client.sadd(`set:${key}`, "x", key);
    equal((await client.smembers(`set:${key}`)).sort(), ["x", key].sort(), "SMEMBERS");
    await client.zadd(`zset:${key}`, 1, "x", 2.5, key);
    equal(await client.zrange(`zset:${key}`, 0, -1, "WITHSCORES"), ["x", "1", key, "2.5"], "ZRANGE");
  }
}

await check("plain", clientPorts, (port, equal) =>
  plain(port, async (client) => {
    equal(await client.flushall(), "OK", "FLUSHALL");
    await singleKeys(client, equal);
    equal(await client.mget(keys), values, "MGET");
    equal(await client.dbsize(), keys.length, "DBSIZE");
    const seen = new Set();
    for await (const found of client.scanStream({ count: 50 })) found.forEach((key) => seen.add(key));
    equal([...seen].sort(), [...keys].sort(), "SCAN");
    const pipeline = client.pipeline();
    keys.forEach((key) => pipeline.set(key, "p").get(key));
    equal(await pipeline.exec(), keys.flatMap(() => [[null, "OK"], [null, "p"]]), "pipeline");
    await plain(clientPorts.find((other) => other !== port), async (other) => {
      equal(await other.mget(keys), keys.map(() => "p"), "MGET through another node");
    });
    equal(await client.mset(...keys.flatMap((key) => [key, "m"])), "OK", "MSET");
    equal(await client.del(...keys), keys.length, "DEL");
    await collections(client, equal);
  }));

await check("cluster", [...clientPorts, ...clusterPorts], (port, equal) =>
  cluster(port, async (client) => {
    await plain(clientPorts[0], (all) => all.flushall());
    await singleKeys(client, equal);
    const masters = client.nodes("master");
    equal(masters.map((node) => node.options.port).sort(), [...clusterPorts].sort(), "the map's primaries");
    const sizes = await Promise.all(masters.map((node) => node.dbsize()));
    equal(sizes.reduce((sum, size) => sum + size), keys.length, "DBSIZE of all primaries");
    await collections(client, equal);
    equal(await client.mset("{tag}a", "1", "{tag}b", "2"), "OK", "MSET in one slot");
    equal(await client.mget("{tag}a", "{tag}b"), ["1", "2"], "MGET in one slot");
    await plain(clientPorts[1], async (other) => {
      equal(await other.mget(keys), values, "MGET through a client port");
    });
    await Promise.all(masters.map((node) => node.flushall()));
    await plain(clientPorts[2], async (other) => equal(await other.dbsize(), 0, "DBSIZE after FLUSHALL"));
  }));

await check("strayed", clusterPorts, (port, equal) =>
  plain(port, async (client) => {
    const replies = await Promise.all(keys.map((key) => client.get(key).catch((error) => error.message)));
    const moved = replies.filter((reply) => reply !== null);
    const others = clusterPorts.filter((other) => other !== port);
    equal(new Set(moved.map((message) => message.replace(/^MOVED \d+ /, ""))),
      new Set(others.map((other) => `${HOST}:${other}`)), "MOVED names the owner");
  }));

summarize();
