// Pixels are bytes: their colours are looked up in a table of 256, five times as fast as Bokeh's own
// computing of each, from which the table comes.
function quicken(mapper) {
  const plain = mapper._v_compute;
  if (typeof plain !== "function") return;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  mapper._v_compute = function (data, values, ...colours) {
    if (!(data instanceof Uint8Array)) return plain.call(this, data, values, ...colours);
    const table = new Uint32Array(256);
    plain.call(this, bytes, table, ...colours);
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
    for (let i = 0; i < pixels.length; i++) values[i] = table[pixels[i]];
  };
}

// What the page does by itself, without asking the server: colours, ranges, address, read-out, pen.
window.s5 = {
  models: null,
  view: { x: 0, y: 0, zoom: null },
  timer: null,
  told: -1e9,
  asked: 0, // moves that were told to the server, the last one that is all here, and all sharp
  answered: 0,
  sharp: 0,
  mark: 0,

  start(models) {
    this.models = models;
    document.getElementById("unreached")?.remove();
    this.view = { ...models.first };
    models.all_mappers.forEach(quicken);
    this.startDrawing();
    this.startKeys();
    this.startNames();
    this.look();
    this.resize();
    setInterval(() => this.resize(), 200); // side bars and windows change size without an event
  },

  // The figure has another size: the same middle and zoom again; all of it at first.
  resize() {
    const { figures, x_range, y_range, box } = this.models;
    const { inner_width: width, inner_height: height } = figures[0];
    if (!(width > 10 && height > 10)) return;
    if (this.size && this.size[0] === width && this.size[1] === height) return;
    this.size = [width, height];
    if (this.view.zoom == null) this.whole();
    else this.show(this.view.x, this.view.y, this.view.zoom);
  },

  whole() {
    const { x0, x1, y0, y1 } = this.models.box;
    const zoom = 0.98 * Math.min(this.size[0] / (x1 - x0), this.size[1] / (y1 - y0));
    this.show((x0 + x1) / 2, (y0 + y1) / 2, zoom);
  },

  show(x, y, zoom) {
    this.view = { x, y, zoom };
    this.place();
    this.moved();
  },

  // Put the ranges where the view is, rounded as the address says it: who opens the address sees
  // the same pixels.
  place() {
    const { x_range, y_range, flip } = this.models;
    const x = +this.view.x.toFixed(3), y = +this.view.y.toFixed(3);
    const zoom = +this.view.zoom.toPrecision(6);
    const side = (flip.active ? -1 : 1) * this.size[0] / zoom / 2;
    const half = this.size[1] / zoom / 2;
    this.view = { x, y, zoom };
    this.setting = true;
    x_range.setv({ start: x - side, end: x + side });
    y_range.setv({ start: y + half, end: y - half });
    this.setting = false;
  },

  // Somebody has moved or zoomed.
  ranges() {
    if (this.setting || !this.size) return;
    const { x_range, y_range } = this.models, before = this.view;
    const zoom = this.size[0] / Math.abs(x_range.end - x_range.start);
    const x = (x_range.start + x_range.end) / 2, y = (y_range.start + y_range.end) / 2;
    // Bokeh calls this later than `place` set them: those are no news, and would be asked for twice.
    const apart = Math.max(Math.abs(x - before.x) * zoom, Math.abs(y - before.y) * zoom);
    if (apart < 1e-3 && Math.abs(zoom / before.zoom - 1) < 1e-9) return;
    this.view = { x, y, zoom };
    this.moved();
  },

  moved() {
    if (this.timer != null) return;
    const pause = Math.max(0, 40 - (performance.now() - this.told)); // the first one at once
    this.timer = setTimeout(() => {
      this.timer = null;
      this.told = performance.now();
      this.place();
      const { screen, x_range, y_range } = this.models;
      const xs = [x_range.start, x_range.end].sort((a, b) => a - b);
      const ys = [y_range.start, y_range.end].sort((a, b) => a - b);
      screen.data = {
        y0: [ys[0]], y1: [ys[1]], x0: [xs[0]], x1: [xs[1]], zoom: [this.view.zoom],
        number: [++this.asked],
      };
      this.widths();
      this.address();
    }, pause);
  },

  answers({ number, sharp, mark }) {
    this.answered = number[0];
    this.sharp = sharp[0];
    if (mark[0] === this.mark) return;
    this.mark = mark[0];
    // What came before is coloured by now.
    setTimeout(() => { this.models.drawn.data = { mark: [mark[0]] }; }, 0);
  },

  // Colours, opacity, overlays and flip: the pixels are here already.
  look() {
    const m = this.models;
    const palette = m.palettes[m.colour.value];
    for (const mapper of m.mappers) {
      mapper.palette = m.invert.active ? [...palette].reverse() : palette;
      mapper.high = 255 / m.boost.value;
    }
    // Gray values are multiplied by the contrast around the middle one, then made brighter; both as
    // the address says them.
    const half = 128 / +m.contrast.value.toFixed(2), by = +m.brightness.value.toFixed(2);
    for (const mapper of m.surfaces)
      mapper.setv({ low: 128 - half * (1 + by), high: 128 + half * (1 - by) });
    for (const [glyph, over] of m.inks) glyph.global_alpha = over ? m.opacity.value : 1;
    for (const [kind, renderer] of m.overlays) renderer.visible = m[kind].active;
    if (this.size && (m.x_range.start > m.x_range.end) !== m.flip.active)
      this.show(this.view.x, this.view.y, this.view.zoom);
    this.address();
  },

  address() {
    const m = this.models, v = this.view;
    const flag = (box) => (box.active ? 1 : 0);
    const words = {
      show: m.show.value, boost: +m.boost.value.toFixed(2), opacity: +m.opacity.value.toFixed(2),
      colour: m.colour.value, flip: flag(m.flip), invert: flag(m.invert), layer: m.layer.value,
      brightness: +m.brightness.value.toFixed(2), contrast: +m.contrast.value.toFixed(2),
      mask: flag(m.mask), label: flag(m.label), ignore: flag(m.ignore),
    };
    if (!m.has_layers) delete words.layer;
    if (v.zoom != null)
      Object.assign(words, { x: v.x, y: v.y, zoom: v.zoom });
    history.replaceState(null, "", "?" + new URLSearchParams(words));
  },

  // The pixel under the pointer, in segment coordinates.
  readout(event) {
    const m = this.models, x = Math.round(event.x), y = Math.round(event.y);
    let text = `y ${y}  x ${x}`;
    if (x >= 0) {
      const part = Math.floor(x / m.part_width) + 1;
      text += `  ·  part ${String(part).padStart(2, "0")}, x ${x - (part - 1) * m.part_width}`;
    }
    for (const [name, source] of m.values) {
      const value = this.pixel(source.data, event.x, event.y);
      if (value != null) text += `  ·  ${name} ` + (name.startsWith("ink") ? (value / 255).toFixed(2) : value);
    }
    m.readout.text = text;
  },

  pixel(data, x, y) {
    if (!data.image.length || !data.image[0].shape) return null;
    const [rows, columns] = data.image[0].shape;
    const column = Math.floor(((x - data.x[0]) / data.dw[0]) * columns);
    const row = Math.floor(((y - data.y[0]) / data.dh[0]) * rows);
    if (column < 0 || row < 0 || column >= columns || row >= rows) return null;
    return data.image[0][row * columns + column];
  },
};
