// What Bokeh's widgets leave out: names for screen readers, and words that toggle their box.
Object.assign(window.s5, {
  startNames() {
    const { widgets, figures, titles, note } = this.models;
    const groups = { mode: "Drawing tool", kind: "Mask to draw" };
    for (const model of widgets) {
      const root = this.element(model)?.shadowRoot;
      if (!root) continue;
      const handle = root.querySelector(".noUi-handle");
      if (handle) handle.setAttribute("aria-label", model.title);
      if (root.querySelector("input[type=checkbox]")) this.wrap(root);
      if (groups[model.name]) this.nameGroup(root.querySelector(".bk-btn-group"), groups[model.name]);
    }
    figures.forEach((figure, i) => {
      this.element(figure)?.setAttribute("role", "figure");
      this.element(figure)?.setAttribute("aria-label", `Picture of ${titles[i]}`);
    });
    this.element(note)?.setAttribute("role", "status");
  },

  element(model) {
    return Bokeh.index.find_one_by_id(model.id)?.el;
  },

  // A box and its word in one label: a click on either toggles the box, and the word is its name.
  wrap(root) {
    const label = document.createElement("label");
    label.className = "box";
    label.append(root.querySelector("input"), root.querySelector(".bk-label"));
    root.append(label);
  },

  nameGroup(group, name) {
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", name);
    const tell = () => {
      for (const button of group.querySelectorAll("button"))
        button.setAttribute("aria-pressed", button.classList.contains("bk-active"));
    };
    new MutationObserver(tell).observe(group, { subtree: true, attributeFilter: ["class"] });
    tell();
  },
});
