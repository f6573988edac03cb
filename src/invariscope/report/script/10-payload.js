// Parts of the payload are deflated and in base64, and are unpacked when they are needed.
const payload = JSON.parse(document.getElementById("payload").textContent);
const root = document.documentElement;

async function unpackedBytes(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const unpackedJson = async (text) => JSON.parse(new TextDecoder().decode(await unpackedBytes(text)));

const KINDS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array };
// The first bytes of all numbers come first, then all second bytes, and so on: that deflates better.
async function unpackedNumbers({ kind, data }) {
  const [mixed, type] = [await unpackedBytes(data), KINDS[kind]];
  const [width, count] = [type.BYTES_PER_ELEMENT, mixed.length / type.BYTES_PER_ELEMENT];
  const bytes = new Uint8Array(mixed.length);
  for (let i = 0; i < count; i++) for (let k = 0; k < width; k++) bytes[i * width + k] = mixed[k * count + i];
  return new type(bytes.buffer);
}

// ---- elements ------------------------------------------------------------------------------
// Names come from users: they are only ever set as text.
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const pressable = (text, act, properties = {}) => {
  const button = element("button", { type: "button", textContent: text, ...properties });
  button.addEventListener("click", act);
  return button;
};
function saveFile(name, content, type) {
  const link = element("a", { download: name });
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const quoted = (value) => {
  const text = String(value ?? "");
  // A spreadsheet would evaluate a name that starts like a formula.
  const safe = typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
};
const asCsv = (lines) => lines.map((line) => line.map(quoted).join(",")).join("\r\n");
