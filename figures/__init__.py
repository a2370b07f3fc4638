"""The paper's figures, and what it lacks: one file a study, `python -m figures --scale cpu` (`make figures`)."""
