//! The style of pages and drawings: light and dark by the reader's setting, colours of Okabe and
//! Ito (2008) that colour-blind readers can tell apart.

/// Colours as variables.
pub const COLOURS: &str = ":root{--paper:#fdfdfb;--ink:#1d1f21;--soft:#5c6166;--rule:#dcdcd6;\
--panel:#ffffff;\
--c0:#0072b2;--c1:#c84e00;--c2:#00805e;--c3:#a8508a;--c4:#8a6500;--c5:#3a6ea5;--heat:#0072b2;\
--best:#c84e00;--other:#bfc3c7;\
--accepted:#d5eee3;--recovered:#ffdcc8;--bonus:#d6e8fa}\
@media(prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e6e6e3;--soft:#a2a7ad;\
--rule:#33373c;--panel:#1b1e22;\
--c0:#56b4e9;--c1:#ff9152;--c2:#3fcf9f;--c3:#e39ac6;--c4:#e6b93c;--c5:#9cc3ee;--heat:#56b4e9;\
--best:#ff9152;--other:#565c63;\
--accepted:#1d4a3a;--recovered:#5e3218;--bonus:#1f4163}}";

/// Classes of drawings.
pub const DRAWING: &str = "text{font:12px ui-sans-serif,system-ui,-apple-system,'Segoe \
    UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:var(--ink);\
font-variant-numeric:tabular-nums}text.tick,text.note{fill:var(--soft);font-size:11px}\
text.label{fill:var(--soft)}text.title{font-size:16px;font-weight:600}\
text.head{font-weight:600}text.value{font-size:11px}text.cell{font-size:12px}\
text.inverse{fill:var(--paper)}.paper{fill:var(--paper)}\
line.grid{stroke:var(--rule);stroke-width:1}line.axis{stroke:var(--soft);stroke-width:1}\
line.one{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 3}\
.l{fill:none;stroke-width:2;stroke-linejoin:round}.w{stroke-width:1.5}.span{stroke-width:5;\
stroke-opacity:.28;stroke-linecap:round}\
.m{stroke:var(--paper);stroke-width:1}.heat{fill:var(--heat)}.frame{fill:none;stroke:var(--best);\
stroke-width:2}.bar{fill:var(--c0)}.bar.other{fill:var(--other)}\
.count{fill:var(--soft)}.band{fill-opacity:.16;stroke:none}\
.l.s0,.w.s0,.span.s0{stroke:var(--c0)}.l.s1,.w.s1,.span.s1{stroke:var(--c1);}\
.l.s2,.w.s2,.span.s2{stroke:var(--c2)}.l.s3,.w.s3,.span.s3{stroke:var(--c3)}\
.l.s4,.w.s4,.span.s4{stroke:var(--c4)}.l.s5,.w.s5,.span.s5{stroke:var(--c5)}\
.l.s1{stroke-dasharray:7 3}.l.s2{stroke-dasharray:2 3}.l.s3{stroke-dasharray:9 3 2 3}\
.m.s0,.band.s0{fill:var(--c0)}.m.s1,.band.s1{fill:var(--c1)}.m.s2,.band.s2{fill:var(--c2)}\
.m.s3,.band.s3{fill:var(--c3)}.m.s4,.band.s4{fill:var(--c4)}.m.s5,.band.s5{fill:var(--c5)}";

/// Classes of pages.
pub const PAGE: &str = "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}body{margin:0;\
background:var(--paper);color:var(--ink);\
font:16px/1.55 ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica \
Neue',Arial,sans-serif;hyphens:manual}\
main{max-width:1180px;margin:0 auto;padding:2.2rem 1.2rem \
4rem}h1{font-size:1.8rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em;text-wrap:balance}\
h2{font-size:1.2rem;margin:3rem 0 .3rem;line-height:1.3}h2 \
.n{color:var(--soft);font-weight:400;margin-right:.5rem}h3{font-size:.95rem;margin:.2rem 0 .2rem}\
p{max-width:44rem;margin:.4rem \
0}.summary{font-size:1.1rem;max-width:52rem}.lead{color:var(--soft)}.warning{border-left:3px solid \
var(--best);padding-left:.7rem}.caption{color:var(--soft);font-size:.94rem}.finding \
h2{margin-top:1.8rem}.finding p{max-width:52rem;margin:.45rem 0}\
table.numbers{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;\
margin:.8rem 0}table.numbers th{font-weight:400;color:var(--soft);text-align:left;\
vertical-align:bottom;line-height:1.3;padding:.3rem 1.2rem .3rem 0;max-width:11rem}\
table.numbers td{padding:.3rem 1.2rem .3rem 0;border-top:1px solid \
var(--rule);vertical-align:top;white-space:nowrap}table.numbers \
td:last-child{white-space:normal}table.numbers td:first-child{font-weight:600}\
@media(max-width:800px){table.numbers thead{display:none}table.numbers,table.numbers \
tbody,table.numbers tr,table.numbers td{display:block}table.numbers \
tr{background:var(--panel);border:1px solid var(--rule);border-radius:8px;padding:.5rem \
.7rem;margin:.6rem 0}\
table.numbers td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.12rem \
0;text-align:right;white-space:normal}table.numbers \
td::before{content:attr(data-name);color:var(--soft);text-align:left;font-weight:400}}\
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:1rem;\
margin:.9rem 0 .2rem;align-items:start}\
.panel{background:var(--panel);border:1px solid var(--rule);border-radius:8px;padding:.7rem .7rem \
.4rem;min-width:0}.panel svg{display:block;width:100%;height:auto;overflow:visible}\
.panels.one{grid-template-columns:minmax(0,29rem)}\
.panels.two{grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),29rem))}\
code,kbd{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
code{overflow-wrap:anywhere}\
table.facts{border-collapse:collapse;font-size:.9rem;margin:.6rem 0;width:100%}table.facts \
th{text-align:left;font-weight:400;color:var(--soft);padding:.2rem 1rem .2rem \
0;vertical-align:top;white-space:nowrap}\
table.facts td{padding:.2rem 0;overflow-wrap:anywhere}table.facts \
tr.begins>*{padding-top:.9rem}details{margin:.8rem 0}summary{cursor:pointer;color:var(--soft)}\
.answer{background:var(--panel);border:1px solid var(--rule);border-radius:8px;padding:.8rem \
1rem;margin:.8rem 0}.answer pre{margin:.4rem 0 0;white-space:pre-wrap;overflow-wrap:anywhere;\
font:13.5px/1.75 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}.answer \
.meta{color:var(--soft);font-size:.86rem}\
.k{border-radius:3px;padding:.08em \
0;-webkit-box-decoration-break:clone;box-decoration-break:clone}.k.a{background:var(--accepted)}\
.k.r{background:var(--recovered);border-bottom:2px solid var(--c1)}\
.k.b{background:var(--bonus);border-bottom:2px dotted \
var(--c0)}.key{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;font-size:.9rem;margin:.5rem \
0}.missing{color:var(--soft)}\
footer{margin-top:4rem;color:var(--soft);font-size:.86rem}\
@media(max-width:480px){main{padding:1.3rem .8rem 3rem}h1{font-size:1.45rem}\
table.facts th{white-space:normal;padding-right:.6rem}.panel{padding:.5rem .4rem .3rem}}\
@media print{.panel,.answer{break-inside:avoid}}";
