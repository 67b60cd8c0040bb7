"""How the page looks: one accent, much room, and answers as plain tables. All of it comes with the page."""

from __future__ import annotations

from typing import Any

ACCENT = "teal"

CSS = """
.gradio-container, .gradio-container > main { width: 100% !important; max-width: 1180px !important;
  margin: 0 auto !important; }
:is(.answers, .heading) > div { padding: 0 !important; }
.heading h1 { font-size: 1.6rem; font-weight: 700; margin: 0.6rem 0 0; }
.heading p { color: var(--body-text-color-subdued); margin: 0.1rem 0 0.4rem; }
.heading p { max-width: 46rem; }
:is(.navigation, .overview) > div { padding: 0 !important; }
.navigation nav { display: flex; gap: 1.8rem; overflow-x: auto; padding: 0.4rem 0 0.6rem;
  border-bottom: 1px solid var(--border-color-primary); }
.navigation section { flex: none; }
:is(.navigation, .overview) h2 { font-size: 0.78rem; font-weight: 400; margin: 0;
  color: var(--body-text-color-subdued); }
.navigation a, .overview a { text-align: left; }
.navigation a { display: block; padding: 0.2rem 0; color: inherit; text-decoration: none; white-space: nowrap; }
.navigation a:hover, .navigation a[aria-current] { color: var(--color-accent); text-decoration: underline; }
.navigation a.home { font-weight: 700; padding-top: 1rem; }
.overview section { margin: 1rem 0; }
.overview a { display: block; padding: 0.5rem 0.9rem; margin: 0.3rem 0; color: inherit; text-decoration: none;
  border-left: 3px solid var(--border-color-primary); }
.overview a:hover { border-left-color: var(--color-accent); }
.overview span { display: block; color: var(--body-text-color-subdued); max-width: 46rem; }
p.missing { border-left: 3px solid var(--border-color-primary); padding: 0.2rem 0 0.2rem 0.9rem; margin: 1.2rem 0; }
p.status { margin: 0; padding: 0.15rem 0; font-size: 1.02rem; }
p.refused { color: var(--error-text-color); background: var(--error-background-fill); padding: 0.5rem 0.8rem;
  border-left: 3px solid var(--error-border-color); border-radius: 3px; overflow-wrap: anywhere; }
.prose table.answer { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0; }
.prose table.answer, .prose table.answer :is(thead, tbody, tr) { border: 0; }
.prose table.answer :is(th, td) { border: 0; border-bottom: 1px solid var(--border-color-primary);
  padding: 0.35rem 1rem 0.35rem 0; text-align: left; min-width: 3.2rem; vertical-align: top; overflow-wrap: anywhere; }
.prose table.answer th { font-weight: 400; font-size: 0.85rem; color: var(--body-text-color-subdued); }
table.answer td.share { width: 11rem; white-space: nowrap; }
td.share span { display: inline-block; width: 3.6rem; }
td.share b { display: inline-block; width: 6rem; }
td.share i { display: block; height: 0.5rem; border-radius: 2px; background: var(--color-accent); }
img.pixels, .pixels img { image-rendering: pixelated; }
.pixels.small img { width: 100%; height: 100%; object-fit: contain; padding-top: 1.7rem; }
footer, .nav-holder { display: none !important; }
@media (max-width: 640px) {
  .gradio-container > main { padding: 0.5rem !important; }
  table.answer td.share { width: 6rem; }
  td.share b { display: none; }
}
"""


def theme() -> Any:
    """Colours, and fonts that Gradio itself serves."""
    import gradio as gr

    return gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue="stone",
        radius_size="sm",
        # The weight 600 that Gradio would take lacks many letters.
        font=(gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"),
    ).set(
        body_background_fill="#faf9f7",
        body_text_color_subdued="*neutral_600",
        color_accent="*primary_600",
        block_shadow="none",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
        slider_color="*primary_600",
    )
