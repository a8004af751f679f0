"""From files in the watched folder to demonstrations: watch, settle, read, cut, mask, prompt, select.

The flow, one function each:

    watch.scan / watch.start_watching → settle.Settler → readers.read → demonstrations.demonstrations_of → select.select

Knows nothing of models, learning or HTTP.
"""
