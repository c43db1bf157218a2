"""Data: sources with checksums, cleaned prose, generators of pictures and drills, the mixture, and stored tokens.

Promises: every sample is a pure function of (purpose, seed, index); every caption is true by construction; nothing that scores a
model is in the manifest. Public: `sources.fetch`, `text.language_documents`, `emoji.render_emoji`, `samples.Mixture`, `samples.to_stream`,
`build.build`, `pack.prepare`, `pack.TextShards`, `starters.write`. Import them from their files: nothing loads here.
"""
