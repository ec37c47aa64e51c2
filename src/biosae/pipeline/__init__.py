"""The stages as functions of typed settings: paths or objects in, objects and paths out."""
