"""Style of the pages, on top of gradio's own; dark where the visitor's system is."""

TITLE = "Dense 3-D reconstruction"
CSS = """
.gradio-container { padding-top: 12px !important; } h1 { margin: 0 !important; }
.viewer { width: 100%; height: min(56vh, 640px); min-height: 300px; box-sizing: border-box; }
.viewer { border: 1px solid #d5d9de; border-radius: 8px; background: #eef0f3; }
.dark .viewer { border-color: #3a3f47; background: #16181c; }
div.viewer { display: flex; align-items: center; justify-content: center; text-align: center; padding: 2em; }
div.viewer { color: #555; } .dark div.viewer { color: #b5bac2; }
#status { min-height: 2.2em; }
label.progress { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1em; }
label.progress progress { width: 100%; height: 10px; appearance: none; border: 0; border-radius: 5px; }
label.progress progress, label.progress progress::-webkit-progress-bar { background: #e4e4e7; }
.dark label.progress progress, .dark label.progress progress::-webkit-progress-bar { background: #3f3f46; }
label.progress progress::-webkit-progress-value { background: #f97316; }
label.progress progress::-moz-progress-bar { background: #f97316; }
label.progress progress:not([value]), label.progress progress:not([value])::-webkit-progress-bar {
  background: linear-gradient(90deg, transparent 35%, #f97316 50%, transparent 65%) 0 / 300% 100%;
  animation: working 1.8s linear infinite;
}
@keyframes working { from { background-position: 100% 0; } to { background-position: 0 0; } }
@media (prefers-reduced-motion: reduce) { label.progress progress:not([value]) { animation: none; } }
label.progress .rest { color: #666; } .dark label.progress .rest { color: #aaa; }
p.alert { color: #9b1c1c; font-weight: 600; } .dark p.alert { color: #fca5a5; } p.status { margin: 0; }
table.figures { width: 100%; } table.figures th { text-align: left; font-weight: 600; padding-right: 1em; }
table.figures td, table.figures th { border: 1px solid var(--border-color-primary) !important; }
table.figures td, p.status, p.alert { overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 1em; height: 1em; margin-right: .3em; vertical-align: -0.15em; }
.swatch:not(:first-child) { margin-left: .8em; }
#strip .thumbnail-lg { aspect-ratio: auto; height: auto; } #strip .caption-label { display: none; }
@media (max-width: 640px) { .viewer { height: 55vh; } }
"""
