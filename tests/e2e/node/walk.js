// Commit, read, history and watch with @grpc/grpc-js, from the .proto alone. Prints what it saw as one JSON object.
// Usage: node walk.js TARGET CONFIG PROTO_FOLDER

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [target, config, protos] = process.argv.slice(2);
const definition = loader.loadSync("lamina_protos/v1/lamina.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: Number,
  enums: String,
  oneofs: true,
});
const { ConfigService } = grpc.loadPackageDefinition(definition).lamina.v1;
const client = new ConfigService(target, grpc.credentials.createInsecure());

const author = new grpc.Metadata();
author.set("lamina-author", "node");

const call = (method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, author, { deadline: Date.now() + 10_000 }, (error, reply) =>
      error ? reject(error) : resolve(reply),
    ),
  );

const watchUntil = (version) =>
  new Promise((resolve, reject) => {
    const seen = [];
    const stream = client.WatchKeyHistory({ config, after: { version: 0 } });
    stream.on("data", (message) => {
      for (const { version: header, changes } of message.changes ?? []) // a bookmark has none
        for (const change of changes) seen.push([header.version, change.key, change.change]);
      if (seen.length > 0 && seen.at(-1)[0] >= version) {
        stream.cancel();
        resolve(seen);
      }
    });
    stream.on("error", (error) => error.code !== grpc.status.CANCELLED && reject(error));
  });

async function main() {
  const first = await call("Commit", {
    config,
    base_version: 0,
    changes: [
      { key: "x", value: { int64: 27 } },
      { key: "ratio", value: { double: 0.5 } },
      { key: "hosts", value: { json: JSON.stringify(["h1", "h2"]) } },
    ],
    message: "from node",
    request_id: `${config}-1`,
  });
  const live = watchUntil(2);
  const second = await call("Commit", {
    config,
    base_version: 1,
    base_hash: first.version.hash,
    changes: [{ key: "x", value: { int64: 28 } }, { key: "ratio", deleted: true }],
    request_id: `${config}-2`,
  });
  const read = await call("GetVersion", { config });
  const old = await call("GetVersion", { config, version: 1, keys: ["x"] });
  const history = await call("GetKeyHistory", { config, key: "x" });
  const refusal = await call("GetVersion", { config: "no/such/config" }).catch((error) => error);
  console.log(
    JSON.stringify({
      versions: [first.version.version, second.version.version],
      author: read.author,
      map: read.entries.map(({ key, value, origin_version }) => [key, value[value.kind], origin_version]),
      old: old.entries.map(({ key, value }) => [key, value[value.kind]]),
      history: history.changes.map(({ version, value }) => [version, value.int64]),
      watched: await live,
      refusal: refusal.code,
    }),
  );
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
