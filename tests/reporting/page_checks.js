// Text whose contrast with what lies behind it is too small, by WCAG 2.2: 4.5, large text 3.
(() => {
  const rgba = (text) => {
    const n = (text.match(/[\d.]+/g) || []).map(Number);
    return n.length < 3 ? null : [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map((k) => top[3] * top[k] + (1 - top[3]) * below[k]);
  const light = (c) => {
    const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = rgba(getComputedStyle(document.body).backgroundColor).slice(0, 3);
  // What HTML elements lay behind an element.
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c && c[3] > 0) layers.unshift(c);
    }
    return layers.reduce((below, top) => over(top, below), paper);
  };
  // Filled shapes that were drawn before a text of the same figure, and under its middle.
  const shapes = (text, below) => {
    const box = text.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
    for (const shape of text.closest("svg").querySelectorAll("path, rect")) {
      if (!(shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
      const style = getComputedStyle(shape), fill = rgba(style.fill), area = shape.getBoundingClientRect();
      if (!fill || style.fill === "none" || shape.closest("defs, clipPath")) continue;
      if (x < area.left || x > area.right || y < area.top || y > area.bottom) continue;
      fill[3] *= Number(style.fillOpacity) * Number(style.opacity);
      below = over(fill, below);
    }
    return below;
  };
  const found = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style, title, desc, canvas, noscript, [hidden]")) continue;
    const style = getComputedStyle(element), svg = element.closest("svg text");
    const ink = rgba(svg ? style.fill : style.color), size = parseFloat(style.fontSize);
    let below = behind(svg ? svg.closest("svg") : element);
    if (svg) below = shapes(svg, below);
    const a = light(over(ink, below)), b = light(below);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen += 1;
    if (contrast < (large ? 3 : 4.5)) found.push(`${contrast.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return { seen, found };
})()
