// Canvas pictures that the report and the page of a stream share.
"use strict";
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = name => css(name).match(/[0-9a-f]{2}/gi).slice(0, 3).map(h => parseInt(h, 16));
const seconds = us => (us / 1e6).toFixed(3);
const count = n => n.toLocaleString("en");

async function inflated(text) {  // base64 of a deflated block as an ArrayBuffer
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

function firstAfter(t, us) {  // index of the first stamp after a time
  let low = 0, high = t.length;
  while (low < high) { const mid = low + high >> 1; if (t[mid] <= us) low = mid + 1; else high = mid; }
  return low;
}

function summed(steps) {  // stamps from the steps between them
  const t = new Float64Array(steps.length);
  for (let i = 0, sum = 0; i < steps.length; i++) t[i] = sum += steps[i];
  return t;
}

function sized(canvas) {  // drawing surface in CSS pixels
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const on = canvas.getContext("2d");
  on.setTransform(ratio, 0, 0, ratio, 0, 0);
  on.clearRect(0, 0, w, h);
  return [on, w, h];
}

function pixels(canvas, w, h, fill) {  // a picture of w x h cells, as large as it fits
  const small = pixels.small ||= document.createElement("canvas");
  small.width = w;
  small.height = h;
  const image = new ImageData(w, h);
  fill((at, colour) => image.data.set([...colour, 255], 4 * at));
  small.getContext("2d").putImageData(image, 0, 0);
  const [on, cw, ch] = sized(canvas), scale = Math.min(cw / w, ch / h);
  const left = (cw - w * scale) / 2, top = (ch - h * scale) / 2;
  on.imageSmoothingEnabled = false;
  on.fillStyle = css("--back");
  on.fillRect(left, top, w * scale, h * scale);
  on.drawImage(small, left, top, w * scale, h * scale);
  return [on, left, top, scale];
}

function drawEvents(canvas, [height, width], {x, y, p}, from, to, box) {  // events from..to on the sensor; box: what the network sees of it
  const colours = [rgb("--off"), rgb("--on")];
  const [on, left, top, scale] = pixels(canvas, width, height, put => {
    for (let i = from; i < to; i++) put(y[i] * width + x[i], colours[p[i]]);
  });
  if (!box) return;
  on.strokeStyle = css("--soft");
  on.strokeRect(left + box[0] * scale, top + box[1] * scale, box[2] * scale, box[3] * scale);
}

function drawSpikes(canvas, [channels, rows, columns], bits, at) {  // a tile a channel; gives the spikes. bits[at...]: a bit a neuron; at undefined: none
  const across = Math.ceil(Math.sqrt(channels)), down = Math.ceil(channels / across), size = channels * rows * columns;
  const colour = rgb("--spike"), grid = rgb("--line"), w = across * (columns + 1) - 1, h = down * (rows + 1) - 1;
  let n = 0;
  pixels(canvas, w, h, put => {
    for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) if (r % (rows + 1) === rows || c % (columns + 1) === columns) put(r * w + c, grid);
    if (at === undefined) return;
    for (let i = 0; i < size; i++) {
      if (!(bits[at + (i >> 3)] >> 7 - (i & 7) & 1)) continue;
      n++;
      const k = Math.floor(i / (rows * columns)), r = Math.floor(i / columns) % rows, c = i % columns;
      put((Math.floor(k / across) * (rows + 1) + r) * w + k % across * (columns + 1) + c, colour);
    }
  });
  return n;
}
