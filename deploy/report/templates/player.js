// One recording at a time: events as they come, spikes of a layer, the read-out, the decision. Needs drawing.js.
const byId = id => document.getElementById(id);
const player = JSON.parse(byId("player-data").textContent);
const bin = player.bin_us, steps = player.shown, end = bin * steps, nodes = byId("player");
let shown, now = Math.ceil(steps / 2) * bin, playing = false, before = 0;

async function unpack(sample) {  // the arrays of a sample, in the order in which they were packed
  const block = await inflated(sample.data), n = sample.events;
  sample.t = summed(new Uint32Array(block, 0, n));
  sample.x = new Uint16Array(block, 4 * n, n);
  sample.y = new Uint16Array(block, 6 * n, n);
  sample.p = new Uint8Array(block, 8 * n, n);
  sample.spikes = [];
  let at = 9 * n;
  for (const layer of player.layers) {
    const bytes = Math.ceil(layer.shape[0] * layer.shape[1] * layer.shape[2] / 8);
    sample.spikes.push(new Uint8Array(block, at, bytes * steps));
    at += bytes * steps;
  }
}

const doneSteps = () => Math.min(steps, Math.floor(now / bin));

function best(values) {  // the largest read-out, the lowest class among equals
  let found = 0;
  values.forEach((value, i) => { if (value > values[found]) found = i; });
  return found;
}

function drawNow() {
  const done = doneSteps(), from = now > 0 ? firstAfter(shown.t, Math.max(now - bin, -1)) : 0, to = firstAfter(shown.t, now);
  const box = player.raster ? [Math.max(0, done - 1), 0, 1, shown.sensor[0]] : shown.box;
  drawEvents(byId("sensor"), shown.sensor, shown, player.raster ? 0 : from, to, box);
  const thinned = shown.every > 1 ? ", one of " + shown.every + " shown" : "";
  byId("seen").textContent = count(to - from) + (player.raster ? " spikes" : " events") + " in the last " + bin / 1e3 + " ms" + thinned;
  nodes.dataset.events = to - from;
  const layer = player.layers[byId("layer").value];
  if (layer) {
    const size = layer.shape[0] * layer.shape[1] * layer.shape[2];
    const n = drawSpikes(byId("spikes"), layer.shape, shown.spikes[byId("layer").value], done ? (done - 1) * Math.ceil(size / 8) : undefined);
    const part = layer.shape[0] < layer.channels ? " in the first " + layer.shape[0] + " of " + layer.channels + " channels" : "";
    byId("fired").textContent = done ? count(n) + " spikes of " + count(layer.neurons) + " neurons" + part + " in step " + done : "no step has run yet";
    nodes.dataset.spikes = done ? n : "";
  }
  drawReadout(done);
}

function drawReadout(done) {
  const [on, w, h] = sized(byId("readout")), left = 52, right = w - 70, top = 12, low = h - 24, k = player.classes.length;
  const values = shown.readout.map(row => row.map(v => v / player.unit)), all = values.flat();
  const least = Math.min(0, ...all), most = Math.max(0, ...all), span = most - least || 1;
  const x = us => left + (right - left) * us / end, y = v => top + (low - top) * (most - v) / span;
  on.font = "12px system-ui, sans-serif";
  on.textBaseline = "middle";
  on.fillStyle = css("--soft");
  on.strokeStyle = css("--line");
  on.textAlign = "right";
  for (const v of new Set([least, 0, most])) {
    on.beginPath();
    on.moveTo(left, y(v));
    on.lineTo(right, y(v));
    on.stroke();
    on.fillText(Math.abs(v) < 1e4 ? v.toFixed(Math.abs(v) < 100 ? 1 : 0) : v.toExponential(1), left - 6, y(v));
  }
  on.textAlign = "center";
  for (let i = 0; i <= 2; i++) on.fillText(seconds(end * i / 2) + " s", x(end * i / 2), h - 8);
  const now_best = done ? best(values[done - 1]) : -1, order = values[0].map((_, i) => i).filter(i => i !== now_best && i !== shown.label);
  const line = (i, colour, width, dash) => {
    on.beginPath();
    on.moveTo(x(0), y(0));
    for (let s = 0; s < steps; s++) on.lineTo(x((s + 1) * bin), y(values[s][i]));
    on.strokeStyle = colour;
    on.lineWidth = width;
    on.setLineDash(dash);
    on.stroke();
    on.setLineDash([]);
    on.lineWidth = 1;
  };
  if (k <= 200) for (const i of order) line(i, css("--other"), 1, []);
  const ends = [];
  if (now_best !== shown.label) { line(shown.label, css("--off"), 3, [7, 4]); ends.push([shown.label, "--off"]); }
  if (now_best >= 0) { line(now_best, css("--on"), 3, []); ends.push([now_best, "--on"]); }
  on.textAlign = "left";
  let above = -Infinity;
  for (const [i, colour] of ends.sort((a, b) => values[steps - 1][b[0]] - values[steps - 1][a[0]])) {
    const at = above = Math.max(y(values[steps - 1][i]), above + 14);
    on.fillStyle = css(colour);
    const name = player.classes[i];
    on.fillText(name.length > 9 ? name.slice(0, 8) + "…" : name, right + 6, at);
  }
  on.fillStyle = css("--now");
  on.fillRect(x(now) - 1, 2, 2, low);
  const right_or_wrong = now_best === shown.label ? "right" : "wrong";
  const said = now_best < 0 ? "no answer yet" : (done < player.bins ? "so far " : "the answer: ") + player.classes[now_best] + ", " + right_or_wrong;
  byId("says").textContent = seconds(now) + " s, step " + done + " of " + player.bins + ": " + said + " (recorded: " + player.classes[shown.label] + ")";
  byId("time").value = Math.round(now);
  byId("time").setAttribute("aria-valuetext", byId("says").textContent);
}

function seek(us) {
  now = Math.min(end, Math.max(0, us));
  drawNow();
}

function play(on) {
  playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  if (now >= end) now = 0;
  before = performance.now();
  requestAnimationFrame(tick);
}

function tick(stamp) {
  if (!playing) return;
  seek(now + Math.max(0, stamp - before) * 1e3 * Number(byId("speed").value));
  before = stamp;
  if (now >= end) play(false);
  else requestAnimationFrame(tick);
}

function choose(index) {
  shown = player.samples[index];
  document.querySelectorAll(".sample").forEach((button, i) => button.setAttribute("aria-pressed", i === index));
  drawNow();
}

function drawAll() {
  document.querySelectorAll(".sample canvas").forEach((canvas, i) => {
    const sample = player.samples[i];
    drawEvents(canvas, sample.sensor, sample, 0, sample.t.length, null);
  });
  drawNow();
}

async function start() {
  await Promise.all(player.samples.map(unpack));
  byId("time").max = end;
  document.querySelectorAll(".sample").forEach((button, i) => { button.onclick = () => choose(i); });
  byId("play").onclick = () => play(!playing);
  byId("time").oninput = () => seek(Number(byId("time").value));
  byId("layer").onchange = drawNow;
  byId("speed").value = end < 3e6 ? "0.1" : "1";
  const moves = {ArrowLeft: -bin, ArrowDown: -bin, ArrowRight: bin, ArrowUp: bin, PageDown: -5 * bin, PageUp: 5 * bin};
  byId("time").addEventListener("keydown", event => {
    if (event.key in moves) seek((Math.round(now / bin) * bin) + moves[event.key]);
    else if (event.key === " ") play(!playing);
    else return;
    event.preventDefault();
  });
  addEventListener("resize", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  choose(0);
  drawAll();
  nodes.dataset.ready = "yes";
}
start().catch(error => { byId("says").textContent = "This player cannot be shown: " + error.message; throw error; });
