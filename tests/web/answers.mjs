// What onnxruntime's JavaScript packages answer on a model, in node and in browsers alike, in the form
// that tests/release/trials/scripts/kit.py describes.

const N_MORE = 9;

function tensorsOf(ort, feeds) {
  const made = {};
  for (const [name, { type, dims, data }] of Object.entries(feeds)) {
    const numbers = type === "int64" ? BigInt64Array.from(data.map(BigInt)) : Float32Array.from(data);
    made[name] = new ort.Tensor(type, numbers, dims);
  }
  return made;
}

function encoded(outputs) {
  return Object.values(outputs).map(({ dims, data }) => {
    const bytes = new Uint8Array(Float64Array.from(data, Number).buffer);
    return { dims, data: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
  });
}

/**
 * Load a model, run it on all feeds, and return times in ms and the outputs.
 *
 * `model` is a path or an Uint8Array, `written` the parsed feeds.json, `options` those of the session;
 * `afterStep` is called after each step, to look at memory.
 */
export async function answer(ort, model, written, options, afterStep = () => {}) {
  const feeds = written.map((each) => tensorsOf(ort, each));
  const started = performance.now();
  const session = await ort.InferenceSession.create(model, options);
  const loaded = performance.now();
  afterStep();
  const outputs = [encoded(await session.run(feeds[0]))];
  const answered = performance.now();
  for (let i = 0; i < N_MORE; i++) await session.run(feeds[0]);
  const ended = performance.now();
  afterStep();
  for (const more of feeds.slice(1)) outputs.push(encoded(await session.run(more)));
  const times = [loaded - started, answered - loaded, (ended - answered) / N_MORE];
  return { load_ms: times[0], first_ms: times[1], run_ms: times[2], outputs };
}
