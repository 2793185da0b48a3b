"""The HTTP service: labels of uploaded videos as JSON, from one run, behind `hts serve`."""
