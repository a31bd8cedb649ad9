"""Reports that can be handed on: one content, written as Markdown, HTML or DOCX."""
