"""What people and programs are shown of a home, and what they change of it: documents that are ready to become JSON.

The command line and the dashboard show the same. Knows store, settings and the home's folders; knows neither HTTP nor
tables, and is told nothing by anybody who asks but what they want to see.
"""
