// Questions to the server, and the arrays of its answers.

export class Wrong extends Error {
  constructor(status, reason) { super(reason); this.status = status; }
}

// The body of the answer; null where a newer question of the kind has overtaken this one.
export async function ask(path, body, kind = "application/json") {
  let response;
  try {
    response = await fetch(`/api/${path}`, { method: "POST", headers: { "Content-Type": kind }, body });
  } catch {
    throw new Wrong(0, "The program does not answer: it has been ended, or is out of reach.");
  }
  if (response.status === 409) return null;
  if (response.ok) return response.arrayBuffer();
  const told = await response.json().catch(() => ({ error: `the program answers with ${response.status}` }));
  throw new Wrong(response.status, told.error);
}

// {facts, arrays: {name: {data, shape}}} of an answer; see wire.py.
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const { name, kind, shape, offset } of header.arrays) {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const Kind = kind === "u8" ? Uint8Array : Float32Array;
    arrays[name] = { data: new Kind(buffer, 4 + length + offset, size), shape };
  }
  return { facts: header.facts, arrays };
}

// The part of an array at the given first indices.
export function part(array, ...indices) {
  let size = array.data.length, start = 0;
  indices.forEach((index, axis) => { size /= array.shape[axis]; start += index * size; });
  return array.data.subarray(start, start + size);
}

// Asks one question at a time; of those that come meanwhile only the newest is asked next.
export class Newest {
  static serial = 0;
  constructor(path, use, fail) { Object.assign(this, { path, use, fail, busy: false, waiting: null }); }

  async ask(record, since = performance.now()) {
    this.waiting = { record, since };
    if (this.busy) return;
    this.busy = true;
    while (this.waiting) {
      const { record: asked, since: begun } = this.waiting;
      this.waiting = null;
      try {
        const body = JSON.stringify({ ...asked, serial: ++Newest.serial });
        const answer = await ask(this.path, body);
        if (answer !== null) this.use(unpack(answer), asked, begun, this.waiting !== null);
      } catch (wrong) {
        if (!this.waiting) this.fail(wrong);
      }
    }
    this.busy = false;
  }
}
