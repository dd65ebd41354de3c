-- title: Health-centre sites of a state
-- about: Every site of one release in a state, by name.
-- about: The newest release is the last whole one: at least half as large as the largest (site_releases).
-- alias: get_sites_by_state
-- tables: sites
-- uses: site_releases
-- source: Health Resources and Services Administration (HRSA)
-- parameter: state | state | required | postal code of the state or territory
-- parameter: vintage | text(16) | default newest | release, as site_releases has it; newest is the last whole one
-- column: name | text | | name of the site
-- column: organisation | text | | the health centre that runs it
-- column: address | text | | street address
-- column: city | text | | city, as the file writes it
-- column: state | text | | postal code
-- column: zip5 | text | | ZIP code
-- column: county | text | | name of the county
-- column: status | text | | active or not
-- column: added_on | date | | day on which the site came into scope
-- column: latitude | double | deg | north is positive
-- column: longitude | double | deg | east is positive
-- column: site_id | text | | the publisher's number of the site
-- order: name, city, address, site_id, organisation, zip5, latitude, longitude, county, status, added_on
WITH release AS (
  SELECT CASE WHEN $vintage = 'newest' THEN max(vintage) ELSE $vintage END AS vintage FROM site_releases WHERE whole
),
site AS (
  SELECT s.* FROM sites s JOIN release r ON s.vintage = r.vintage
)
SELECT name, organisation, address, city, state, zip5, county, status, added_on, latitude, longitude, site_id
FROM site
WHERE state = $state
ORDER BY name, city, address NULLS LAST, site_id NULLS LAST, organisation NULLS LAST, zip5 NULLS LAST,
  latitude NULLS LAST, longitude NULLS LAST, county NULLS LAST, status NULLS LAST, added_on NULLS LAST
