"""A Supabase Storage on this machine: its HTTP API, quirks included, with the objects in a folder.

What it answers was compared, request by request, with the real storage-api server (2026, file backend).
"""
