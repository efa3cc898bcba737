// The look of report.html. Colours are variables that change with the reader's light or dark
// scheme; charts use the same ones.

#include "runner/heat_svg.h"
#include "runner/report_html_parts.h"

namespace kv {

std::string style_html() {
  return "<style>\n:root{" + heat_colours_css() + "}\n" +
         R"(:root{color-scheme:light dark;--page:#fff;--ink:#1d2127;--soft:#59616c;--grid:#e3e5e8;--line:#cfd3d8;
--panel:#f6f7f8;--warn:#fff4d6;--warn-line:#d9a300;--mark:#ffd54a;--mark-ink:#1d2127;--good:#0a6b46;
--bad:#b3261e;--link:#0059a8;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b8578f;--c4:#b07d00;--c5:#3f8fc4;--c6:#6a3d9a;--c7:#7a4a21}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e4e7eb;--soft:#9aa3ae;--grid:#2b3037;
--line:#3b424b;--panel:#1c2026;--warn:#33290c;--warn-line:#c79a1c;--mark:#f2c230;--mark-ink:#14171b;
--good:#5fd0a0;--bad:#ff8a80;--link:#7db8f0;
--c0:#56a8e0;--c1:#ff8c42;--c2:#3ccf9f;--c3:#e58fc0;--c4:#e0b040;--c5:#8cc8f0;--c6:#b794e0;--c7:#c8966b}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1180px;margin:0 auto;padding:16px 14px 64px}
h1{font-size:1.7rem;margin:.4rem 0}h2{font-size:1.35rem;margin:2.4rem 0 .6rem;
border-bottom:2px solid var(--line);padding-bottom:.2rem}
h3{font-size:1.12rem;margin:1.9rem 0 .4rem}h4{font-size:1rem;margin:1.3rem 0 .3rem}
h1,h2,h3,p,li,nav{overflow-wrap:anywhere}p{margin:.4rem 0 .8rem;max-width:80ch}
.soft,figcaption{color:var(--soft);font-size:.9rem}
code{font:.88em ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--link)}nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.8rem 0}
.warning{background:var(--warn);border-left:4px solid var(--warn-line);padding:.5rem .8rem;
max-width:80ch;list-style:none}
.notes{padding-left:1.2rem;font-size:.92rem;max-width:100ch}
.scroll{overflow-x:auto;margin:.5rem 0 1rem;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.32rem .6rem;text-align:right;white-space:nowrap;border-top:1px solid var(--grid);
vertical-align:top}
thead th{background:var(--panel);font-weight:600;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--page);
font-weight:400}
thead th:first-child{background:var(--panel);font-weight:600}
td small{display:block;color:var(--soft);font-size:.8em}
.worse{color:var(--bad)}.better{color:var(--good)}
figure{margin:.8rem 0 1.2rem;max-width:540px}figure svg{display:block;width:100%;height:auto}
figcaption{margin-bottom:.4rem;max-width:72ch}
svg text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;
fill:var(--ink)}
.heats{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;align-items:flex-start}
.heats figure{margin:.4rem 0;max-width:100%}.heats figure svg{width:auto;max-width:100%}
svg .share{font-size:12px;fill:#1d2127}
svg .tick{font-size:12px;fill:var(--soft)}svg .grid{stroke:var(--grid);stroke-width:1}
svg .axis{stroke:var(--soft);stroke-width:1.2;fill:none}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:0 .8rem}
summary{cursor:pointer;padding:.5rem 0;font-weight:600;overflow-wrap:anywhere}
.answer{border-top:1px solid var(--grid);padding:.5rem 0}
.answer p{margin:0 0 .2rem;font-size:.88rem;color:var(--soft)}
pre{margin:0;padding:.5rem .6rem;background:var(--panel);border-radius:4px;white-space:pre-wrap;
overflow-wrap:anywhere;max-height:22rem;overflow-y:auto;
font:.84rem/1.45 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}
pre .same{color:var(--soft)}mark{background:var(--mark);color:var(--mark-ink);border-radius:2px}
</style>
)";
}

}  // namespace kv
