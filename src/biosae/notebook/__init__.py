"""The door of notebooks and scripts: the stages of the pipeline on objects in memory."""
