"""ZipMap: configurations, presets and the model as pure functions of explicit pytrees."""
