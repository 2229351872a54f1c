// Keys: of drawing, and of the view. None is taken from a field that somebody types in, or from a
// slider, a button or a list that has a use for it.
Object.assign(window.s5, {
  startKeys() {
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || !this.isFree(event)) return;
      if (this.drawingKey(event)) event.preventDefault();
    });
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
});
