"""ShapeWorld: the embedded world. Scenes, their language, renderer and exact oracle; numpy only."""
