// The look of the report. Colours are custom properties with a light and a dark value; the six of the palette
// are those of Okabe and Ito, told apart under every common colour-blindness, darkened or lightened for
// contrast with the ground.

enum ReportStyle {
  static let css = """
    :root {
      color-scheme: light dark;
      --ground: #fdfcfa; --raised: #ffffff; --ink: #1b1d21; --soft: #61666f; --hair: #e4e1db; --hair2: #f0eee9;
      --good: #00704f; --bad: #b3261e; --warn: #8a5a00;
      --k0: #0067a5; --k1: #c85a00; --k2: #00805a; --k3: #a8437f; --k4: #2c8fc0; --k5: #6b6b6b;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --ground: #14161a; --raised: #1b1e23; --ink: #e9e7e2; --soft: #9aa0aa; --hair: #31353c; --hair2: #23262b;
        --good: #4cc79b; --bad: #ff8a80; --warn: #e6b450;
        --k0: #5db3ea; --k1: #f59a4a; --k2: #45c79a; --k3: #e295c4; --k4: #8fd0f5; --k5: #b0b0b0;
      }
    }
    * { box-sizing: border-box; }
    html { -webkit-text-size-adjust: 100%; }
    body {
      margin: 0; background: var(--ground); color: var(--ink);
      font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
      font-variant-numeric: tabular-nums;
    }
    main { max-width: 1160px; margin: 0 auto; padding: 40px 28px 64px; }
    h1 { font-size: 15px; font-weight: 600; margin: 0; color: var(--soft); overflow-wrap: anywhere; }
    .verdict { font-size: clamp(25px, 4.2vw, 38px); line-height: 1.16; font-weight: 650; letter-spacing: -.018em;
      margin: 10px 0 12px; text-wrap: balance; }
    .lead { color: var(--soft); margin: 0; max-width: 78ch; }
    .good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
    h2 { font-size: 20px; font-weight: 650; letter-spacing: -.01em; margin: 56px 0 4px; }
    h3 { font-size: 14px; font-weight: 600; margin: 0 0 6px; }
    h2 + p { margin: 0 0 18px; color: var(--soft); max-width: 78ch; }
    .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 0; margin: 30px 0 0;
      border-top: 1px solid var(--hair); border-bottom: 1px solid var(--hair); }
    .tile { padding: 16px 18px 15px 0; }
    .tile b { display: block; font-size: 27px; line-height: 1.2; font-weight: 620; letter-spacing: -.015em; }
    .tile b small { font-size: 14px; font-weight: 450; letter-spacing: 0; color: var(--soft); }
    .tile span { color: var(--soft); font-size: 13.5px; display: block; }
    .tile .name { color: var(--ink); font-weight: 550; display: flex; gap: 6px; align-items: center; }
    .legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 14px; padding: 0; font-size: 13.5px;
      color: var(--soft); list-style: none; }
    .legend li { display: flex; align-items: center; gap: 6px; }
    .swatch { width: 13px; height: 13px; flex: none; overflow: visible; }
    .stroke { width: 24px; height: 10px; flex: none; }
    figure { margin: 22px 0 34px; }
    .panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 30px 26px; }
    .panel { min-width: 0; max-width: 520px; }
    .panel h3 { display: flex; gap: 6px; align-items: center; } .panel h3 span { font-weight: 400; color: var(--soft); }
    .area { fill: currentColor; opacity: .1; stroke: none; }
    .panel p { margin: 0; color: var(--soft); font-size: 13.5px; }
    .half { max-width: 520px; }
    .chart { display: block; width: 100%; height: auto; overflow: visible; }
    .narrow { display: none; }
    .k0 { color: var(--k0); } .k1 { color: var(--k1); } .k2 { color: var(--k2); }
    .k3 { color: var(--k3); } .k4 { color: var(--k4); } .k5 { color: var(--k5); }
    .grid { stroke: var(--hair); stroke-width: 1; } .grid.minor { stroke: var(--hair2); }
    .axis { stroke: var(--soft); stroke-width: 1; }
    .chart text { fill: var(--soft); font-size: 11.5px; }
    .chart .label { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; fill: currentColor; font-size: 12px; }
    .chart .name { fill: var(--ink); font-size: 13px; }
    .end { text-anchor: end; } .middle { text-anchor: middle; }
    .curve { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
    .dotted { stroke-dasharray: .5 4.5; }
    .curve.faint { stroke-width: 1.3; opacity: .5; }
    .whisker, .bound { fill: none; stroke: currentColor; stroke-width: 1.2; }
    .solid { fill: currentColor; stroke: var(--ground); stroke-width: 1; }
    .hollow { fill: var(--ground); stroke: currentColor; stroke-width: 1.5; }
    .solid.faint { opacity: .55; stroke: none; } .hollow.faint { stroke-width: 1.1; opacity: .7; }
    .hit { fill: transparent; }
    .scroll { overflow-x: auto; margin: 0 -28px; padding: 0 28px; -webkit-overflow-scrolling: touch; }
    table { border-collapse: collapse; font-size: 13px; width: 100%; }
    th { font-weight: 500; color: var(--soft); text-align: right; vertical-align: bottom; padding: 6px 0 6px 12px;
      border-bottom: 1px solid var(--soft); white-space: nowrap; line-height: 1.3; }
    th small { display: block; font-size: 12px; font-weight: 400; }
    td { text-align: right; padding: 5px 0 5px 12px; border-bottom: 1px solid var(--hair2); white-space: nowrap; }
    th:first-child, td:first-child { padding-left: 0; }
    .left { text-align: left; }
    tr.first td { border-top: 1px solid var(--hair); }
    tr.void td { color: var(--soft); }
    tr.void td { border-bottom: 0; }
    tr.why td { text-align: left; white-space: normal; color: var(--soft); padding: 0 0 6px 20px; font-size: 12.5px; }
    tr.why span { position: sticky; left: 20px; display: inline-block; max-width: min(100ch, 100vw - 66px); }
    td .swatch { vertical-align: -2px; margin-right: 7px; }
    .bar { display: inline-block; height: 9px; background: currentColor; border-radius: 1px; vertical-align: 0; }
    .bars { text-align: left; width: 22%; min-width: 110px; }
    dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 22px; margin: 0; font-size: 13.5px; }
    dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
    pre { background: var(--hair2); padding: 12px 14px; border-radius: 4px; overflow-x: auto; margin: 12px 0;
      font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; white-space: pre-wrap;
      overflow-wrap: anywhere; }
    summary { cursor: pointer; color: var(--soft); margin-top: 14px; font-size: 13.5px; }
    .note { color: var(--soft); font-size: 13.5px; margin: 12px 0 0; max-width: 78ch; }
    footer { margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--hair); color: var(--soft);
      font-size: 13px; }
    @media (min-width: 1000px) { .panels { grid-template-columns: repeat(var(--columns, 2), 1fr); } }
    @media (max-width: 640px) {
      main { padding: 26px 18px 48px; }
      .scroll { margin: 0 -18px; padding: 0 18px; }
      .wide { display: none; } .narrow { display: block; }
      h2 { margin-top: 44px; }
      dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
      .tiles { grid-template-columns: 1fr 1fr; }
      th:first-child, tr:not(.why) td:first-child { position: sticky; left: 0; background: var(--ground); }
      tr.why td { padding-left: 0; } tr.why span { left: 0; max-width: calc(100vw - 36px); }
      .tile b { font-size: 23px; }
    }
    @media print {
      :root {
        color-scheme: light;
        --ground: #fff; --raised: #fff; --ink: #000; --soft: #444; --hair: #ccc; --hair2: #e6e6e6;
        --good: #00563d; --bad: #9a1b14; --warn: #6b4600;
        --k0: #0067a5; --k1: #c85a00; --k2: #00805a; --k3: #a8437f; --k4: #2c8fc0; --k5: #6b6b6b;
      }
      @page { margin: 14mm; }
      body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
      main { max-width: none; padding: 0; }
      .panels { grid-template-columns: repeat(2, 1fr); }
      .panel, .tiles, tr, dl, figure { break-inside: avoid; }
      h2, h2 + p, thead { break-after: avoid; } h2 { margin-top: 26pt; }
      .scroll { overflow: visible; margin: 0; padding: 0; }
      table { font-size: 7.6pt; } th, td { padding-left: 7px; } tr.why { break-before: avoid; }
      details::details-content { content-visibility: visible; height: auto; }
    }
    """
}
