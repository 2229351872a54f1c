// Keys: of drawing, and of the view. None is taken from a field that somebody types in, or from a
// slider, a button or a list that has a use for it.
Object.assign(window.s5, {
  startKeys() {
    const list = document.getElementById("keys");
    list.querySelector("button").addEventListener("click", () => list.close());
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || !this.isFree(event)) return;
      if (event.key === "?") this.listKeys();
      else if (list.open || !(this.drawingKey(event) || this.viewKey(event))) return;
      event.preventDefault();
    });
  },

  listKeys() {
    const list = document.getElementById("keys");
    if (list.open) list.close();
    else list.showModal();
  },

  isFree(event) {
    const target = event.composedPath()[0]; // also inside of a widget's shadow tree
    if (!(target instanceof Element)) return true;
    if (target.matches("textarea, select, input:not([type=checkbox]), [contenteditable]"))
      return false;
    const own = target.matches("button, input") ? ["Enter", " "]
      : target.matches("[role=slider]")
        ? ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"] : [];
    return !own.includes(event.key);
  },

  // Return whether a key was for the drawing.
  drawingKey(event) {
    const { mode, hints } = this.models;
    if (!hints || event.altKey) return false;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "y" || (key === "z" && event.shiftKey)) this.redo();
      else if (key === "z") this.undo();
      else return false;
      return true;
    }
    if (mode.active !== 1 || !this.pen) return false;
    if (key === "enter") this.close();
    else if (key === "escape") this.lift();
    else if (key === "backspace") this.takeBack();
    else return false;
    return true;
  },

  // Return whether a key was for the view.
  viewKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { flip, layer, has_layers } = this.models, { x, y, zoom } = this.view;
    const [across, down] = this.size.map((side) => side / zoom / 8);
    const right = flip.active ? -across : across;
    const zoomed = (times) => this.show(x, y, Math.min(1e3, Math.max(1e-6, zoom * times)));
    const changed = (by) => {
      if (has_layers) layer.value = Math.min(layer.end, Math.max(layer.start, layer.value + by));
    };
    const does = {
      ArrowLeft: () => this.show(x - right, y, zoom), ArrowRight: () => this.show(x + right, y, zoom),
      ArrowUp: () => this.show(x, y - down, zoom), ArrowDown: () => this.show(x, y + down, zoom),
      "+": () => zoomed(1.25), "=": () => zoomed(1.25), "-": () => zoomed(0.8), "−": () => zoomed(0.8),
      "[": () => changed(-1), "]": () => changed(1),
      f: () => { flip.active = !flip.active; },
    }[event.key];
    if (does) does();
    return does != null;
  },
});
