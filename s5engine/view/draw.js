// Drawing: 1 is a polygon, 2 a brush; a finished shape goes to the server, which keeps a draft of it.
Object.assign(window.s5, {
  pen: null, // the corners of a polygon, or the way of a brush, and corners that were taken back
  sent: 0,

  startDrawing() {
    const { pen, hints } = this.models;
    if (!hints) return;
    if (pen.data.xs.length) // of a polygon in the draft
      this.pen = { x: Array.from(pen.data.xs[0]), y: Array.from(pen.data.ys[0]), back: [] };
    this.mode();
    addEventListener("beforeunload", (event) => { if (this.unsaved()) event.preventDefault(); });
  },

  unsaved() {
    const { polygons, strokes } = this.models;
    return this.pen != null || polygons.data.xs.length + strokes.data.xs.length > 0;
  },

  mode() {
    const { mode, pans, hint, hints } = this.models, drawing = mode.active;
    for (const tool of pans) tool.active = drawing !== 2;
    if (hints) hint.text = hints[drawing];
    // Another tool takes over: what has corners enough is kept.
    if (drawing !== 1 && this.pen && !this.close()) this.lift();
    this.widths();
  },

  lift() {
    this.pen = null;
    this.models.pen.data = { xs: [], ys: [] };
  },

  showPen() {
    const { x, y } = this.pen;
    this.models.pen.data = { xs: [[...x]], ys: [[...y]] };
  },

  put(x, y) {
    this.pen = this.pen || { x: [], y: [] };
    this.pen.x.push(x);
    this.pen.y.push(y);
    this.pen.back = [];
    this.showPen();
  },

  tap(event) {
    if (this.models.mode.active === 1) this.put(event.x, event.y);
  },

  // Bokeh tells of the second of two quick clicks by this alone. At one place they close the
  // polygon; at two they are two corners.
  double(event) {
    this.tap(event);
    if (this.models.mode.active !== 1 || !this.pen) return;
    const { x, y } = this.pen, n = x.length - 1;
    if (n > 0 && Math.hypot(x[n] - x[n - 1], y[n] - y[n - 1]) * this.view.zoom < 6) this.close();
  },

  // Close the polygon; one of fewer than three corners stays open.
  close() {
    const { x, y } = this.pen, near = 3 / this.view.zoom;
    const kept = x.map((_, i) => i).filter(
      (i) => i === 0 || Math.hypot(x[i] - x[i - 1], y[i] - y[i - 1]) > near);
    const corners = [kept.map((i) => x[i]), kept.map((i) => y[i])];
    if (kept.length < 3) {
      this.pen = { x: corners[0], y: corners[1], back: [] };
      this.showPen();
      return false;
    }
    this.send("polygon", ...corners);
    this.lift();
    return true;
  },

  takeBack() {
    const { x, y, back } = this.pen;
    back.push([x.pop(), y.pop()]);
    if (x.length) this.showPen();
    else this.lift();
  },

  // While a polygon is open, its corners are undone and redone, else shapes.
  undo() {
    if (this.models.mode.active === 1 && this.pen) this.takeBack();
    else this.send("undo", [++this.sent], [0]);
  },

  redo() {
    if (this.models.mode.active !== 1 || !this.pen) {
      this.send("redo", [++this.sent], [0]);
      return;
    }
    const { x, y, back } = this.pen;
    if (!back.length) return;
    const corner = back.pop();
    x.push(corner[0]);
    y.push(corner[1]);
    this.showPen();
  },

  drag(event) {
    if (this.models.mode.active === 2) this.put(event.x, event.y);
  },

  drop() {
    if (this.models.mode.active !== 2 || !this.pen) return;
    this.send("stroke", this.pen.x, this.pen.y);
    this.lift();
  },

  send(shape, x, y) {
    this.models.outbox.data = { x, y, shape: x.map(() => shape) };
  },

  // A brush is as wide as its pixels.
  widths() {
    const { strokes, pen_glyphs, mode, radius } = this.models;
    const data = strokes.data;
    if (data.radius && data.radius.length)
      strokes.data = { ...data, width: Array.from(data.radius, (r) => 2 * r * this.view.zoom) };
    for (const glyph of pen_glyphs)
      glyph.line_width = mode.active === 2 ? Math.max(1, 2 * radius.value * this.view.zoom) : 2;
  },
});
