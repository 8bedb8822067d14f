"""Reports: a document of headings, sentences, tables and figures, and what makes HTML, Markdown and files of it."""
