"""The dashboard: Streamlit pages that reach everything through the API."""
