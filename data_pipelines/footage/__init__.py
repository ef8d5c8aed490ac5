"""Anyone's moving pictures, as their files say that they are to be shown; the door is `data_pipelines.video`."""
